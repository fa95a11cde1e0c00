"""An inode, as a recorder keeps it."""

import os
import stat
import time
from dataclasses import dataclass, field

from crashmatrix.faults.disk.linux.fuse import Attributes

__all__ = ["Inode"]


@dataclass
class Inode:
    """A file, directory or anything else that has a name. `size_fixed` is the size of a file whose bytes are kept elsewhere."""

    number: int
    mode: int
    uid: int = field(default_factory=os.geteuid)
    gid: int = field(default_factory=os.getegid)
    device: int = 0
    target: bytes = b""
    links: int = 0
    content: bytearray = field(default_factory=bytearray)
    names: dict[bytes, int] = field(default_factory=dict)
    changed_ns: int = field(default_factory=time.time_ns)
    modified_ns: int = field(default_factory=time.time_ns)
    accessed_ns: int = field(default_factory=time.time_ns)
    size_fixed: int = 0

    @property
    def is_directory(self) -> bool:
        """Whether it holds names and no content."""
        return stat.S_ISDIR(self.mode)

    def touch(self) -> None:
        """Set the times of a change of content to now."""
        self.changed_ns = self.modified_ns = time.time_ns()

    def attributes(self) -> Attributes:
        """The answer to stat(2)."""
        links = 2 if self.is_directory else self.links
        size = self.size_fixed or len(self.content or self.target)
        return Attributes(
            self.number, self.mode, size, links, self.uid, self.gid, self.device,
            self.changed_ns, self.modified_ns, self.accessed_ns,
        )  # fmt: skip
