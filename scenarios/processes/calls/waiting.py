"""A thread that waits before a system call: what it is about to do, to which files, and with what text."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from crashmatrix.scenarios.processes.calls.arguments import memory, touched
from crashmatrix.scenarios.processes.calls.seccomp import Call
from crashmatrix.scenarios.processes.calls.table import Kind

__all__ = ["WaitingThread"]

_TEXT_BYTES_MAX = 1 << 16
_WRITES = ("write", "pwrite64")
_VECTORS = ("writev", "pwritev", "pwritev2")
_BUFFERS_MAX = 64


@dataclass(frozen=True)
class WaitingThread:
    """See `process_tree.Waiting`. ``name`` is the call's."""

    call: Call
    name: str
    kind: Kind
    root: str
    is_inside: Callable[[str], bool]

    @property
    def thread(self) -> int:
        """Its number."""
        return self.call.pid

    @property
    def place(self) -> int:
        """The address behind the instruction that makes the call."""
        return self.call.place

    def about(self) -> str:
        """Say what the call is about to do: ``rename db.tmp -> db.json``."""
        paths = [os.path.relpath(path, self.root) if self.is_inside(path) else path for path in self.paths()]
        return f"{self.name} {' -> '.join('the folder' if path == '.' else path for path in paths)}".strip()

    def paths(self) -> list[str]:
        """The files that the call is about to change; none if they cannot be read."""
        with suppress(OSError, OverflowError, struct.error):
            return touched(self.call, self.name, self.kind)
        return []

    def text(self) -> bytes:
        """The bytes that the call is about to write, as far as they can be read."""
        with suppress(OSError, OverflowError, struct.error):
            return b"".join(memory(self.call, *extent) for extent in self._extents())
        return b""

    def _extents(self) -> list[tuple[int, int]]:
        _, address, length, *_ = self.call.arguments
        if self.name in _WRITES:
            return [(address, min(length, _TEXT_BYTES_MAX))]
        if self.name in _VECTORS:
            return list(struct.iter_unpack("<QQ", memory(self.call, address, 16 * min(length, _BUFFERS_MAX))))
        return []
