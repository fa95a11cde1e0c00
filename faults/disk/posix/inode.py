"""An inode of the recorded tree, as the server keeps it."""

import stat
import time
from dataclasses import dataclass, field

from faults.disk.posix.wire import Attributes

__all__ = ["ROOT", "Inode"]

ROOT = 2
"""The number of the directory under test."""


@dataclass
class Inode:
    """A file, directory or anything else that has a name."""

    number: int
    mode: int
    uid: int = 0
    gid: int = 0
    device: int = 0
    target: bytes = b""
    links: int = 0
    content: bytearray = field(default_factory=bytearray)
    names: dict[bytes, int] = field(default_factory=dict)
    changed_ns: int = field(default_factory=time.time_ns)
    modified_ns: int = field(default_factory=time.time_ns)
    accessed_ns: int = field(default_factory=time.time_ns)

    @property
    def is_directory(self) -> bool:
        """Whether it holds names and no content."""
        return stat.S_ISDIR(self.mode)

    def touch(self) -> None:
        """Its content changed just now."""
        self.changed_ns = self.modified_ns = time.time_ns()

    def attributes(self) -> Attributes:
        """What stat(2) tells of it."""
        links = 2 if self.is_directory else self.links
        return Attributes(
            self.number, self.mode, len(self.content or self.target), links, self.uid, self.gid, self.device,
            self.changed_ns, self.modified_ns, self.accessed_ns,
        )  # fmt: skip
