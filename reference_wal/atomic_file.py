"""A small file that is there whole or not at all. Each kind has failpoints of its own on both sides of these four steps:

1. write it under a temporary name; 2. sync it; 3. rename it into place; 4. sync the folder
── the new content is durable ──

A file of which damage must show ends in a line with a checksum of what stands before it (`checked`): 16 hexadecimal digits,
XXH3-64, salted with the kind of the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.reference_wal.durable_io import Step, step, sync_directory, write_all
from crashmatrix.reference_wal.log.segments.seal import checksum

__all__ = ["AtomicFile", "atomic_file", "checked", "content_of"]


@dataclass(frozen=True)
class AtomicFile:
    """The steps of one kind of file: ``INTENT.put(path, data, temporary=...)``."""

    write: Step
    sync: Step
    rename: Step
    sync_folder: Step

    def put(self, path: Path, data: bytes, *, temporary: str) -> None:
        """Write the file; durable on return. Raises OSError.

        Args:
            temporary: name beside it until it is whole; recovery removes a file of this name.
        """
        unfinished = path.with_name(temporary)
        fd = os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        try:
            with self.write:
                write_all(fd, data)
            with self.sync:  # Contents before the name.
                os.fsync(fd)
        finally:
            os.close(fd)
        with self.rename:
            unfinished.rename(path)
        with self.sync_folder:  # Until here a power cut may keep the old name, or none.
            sync_directory(path.parent)


def atomic_file(area: str, what: str) -> AtomicFile:
    """Declare the steps as ``{area}.write`` and so on; ``what`` names the file in their descriptions."""
    return AtomicFile(
        step(f"{area}.write", f"no {what}", f"{what} under a temporary name, in the page cache"),
        step(f"{area}.sync", f"{what} in the page cache, temporary", f"{what} durable under a temporary name"),
        step(f"{area}.rename", f"{what} durable under a temporary name", f"{what} in place, not yet durably"),
        step(f"{area}.sync_folder", f"{what} in place in the cache only", f"{what} in place durably"),
    )


def checked(content: bytes, kind: str) -> bytes:
    """Return the content of a file of this kind with its checksum."""
    return b"%b\n%016x\n" % (content, checksum(content, checksum(kind.encode())))


def content_of(data: bytes, kind: str) -> bytes | None:
    """Return the content that `checked` was given; None if these are not the bytes that it returned."""
    content = data[:-18]
    return content if data == checked(content, kind) else None
