"""The boot id that a target sees. After a power cut a machine has started anew, and the kernel has drawn another one.

A store may note the id to know whether everything that it wrote before, synced or not, can still be relied on. The kill of a
process leaves the id as it is.

Source: random(4), on /proc/sys/kernel/random/boot_id.
"""

from __future__ import annotations

import uuid

__all__ = ["boot_after"]


def boot_after(recording: str) -> str:
    """Return the boot id after a power cut in the recording of this name: not the machine's, nor that after another one."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"crashmatrix, after {recording}"))
