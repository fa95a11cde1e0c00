"""The idiom of every settings file: write a temporary file, rename it over the live one.

1. write FILE.new                           losable: its data
2. fsync FILE.new       (fsync, fsync-dir)  durable: the data; losable: the rename to come
3. rename over FILE                         atomic for other processes, nothing durable
4. fsync the directory  (fsync-dir)         durable: the rename. The promise, in that mode, holds from here
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from crashmatrix.faults import declare
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.values import ITEMS, LATER
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["Replace"]

BEFORE_RENAME = declare("replace.before_rename", "the temporary file is written, the old one still in place")
AFTER_RENAME = declare("replace.after_rename", "the new file is in place, not yet acknowledged")

_KEY = "settings"
_FIRST_BYTES, _GROWTH_BYTES = 1_000, 300


class Replace(SystemUnderTest):
    """A file, replaced by a longer version time and again.

    rename(2), https://man7.org/linux/man-pages/man2/rename.2.html, promises atomicity to other processes and says nothing
    of power cuts; fsync(2), https://man7.org/linux/man-pages/man2/fsync.2.html: "does not necessarily ensure that the
    entry in the directory containing the file has also reached disk. For that an explicit fsync() on a file descriptor
    for the directory is also needed." So every mode is ``safe`` under kill. Under power, ``fsync`` loses the latest version,
    ``fsync-dir`` is safe, and ``none`` loses or is corrupt: empty files on xfs; on ext4, files of the right size full of
    zeros. There the rename starts writing the data (``auto_da_alloc``, https://docs.kernel.org/admin-guide/ext4.html),
    but a journal commit that comes before the data waits for it only without ``dioread_nolock``, the default.

    Args:
        sync: ``none``, ``fsync`` or ``fsync-dir``: which of the idiom's syncs are made.
    """

    failpoints_suffice = True
    contract = "latest"

    def __init__(self, sync: str = "fsync-dir") -> None:
        self._sync = sync

    def prepare(self, root: Path) -> Sequence[Item]:
        """Put version 0 in place."""
        self._replace(root, self._content(0))
        return [[_KEY, 0]]

    def workload(self, root: Path, journal: Journal) -> None:
        """Replace it by each later version."""
        self._replace_by(range(1, ITEMS + 1), root, journal)

    def resume(self, root: Path, journal: Journal) -> None:
        """Go on with versions that no first life had."""
        self._replace_by((number + 1 for number in LATER), root, journal)

    def _replace_by(self, versions: Iterable[int], root: Path, journal: Journal) -> None:
        for version in versions:
            with journal.attempt([_KEY, version]):
                self._replace(root, self._content(version))

    def recover(self, root: Path) -> Sequence[Item]:
        """Read the file; it is some version, whole, and there."""
        try:
            found = (root / _KEY).read_bytes()
        except FileNotFoundError:
            return []
        for version in range(LATER.stop + 1):
            if found == self._content(version):
                return [[_KEY, version]]
        raise PromiseBroken(
            "corrupt", f"the file is not a version that was written: {len(found)} bytes, {found.count(0)} of them zero"
        )

    def _replace(self, root: Path, content: bytes) -> None:
        temporary = root / f"{_KEY}.new"
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            if self._sync != "none":
                os.fsync(file.fileno())  # Durable: the data. Before, the rename could outlive it.
        BEFORE_RENAME.hit()
        temporary.replace(root / _KEY)
        if self._sync == "fsync-dir":
            folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # Durable: the rename. Before, the old version could come back.
            finally:
                os.close(folder)
        AFTER_RENAME.hit()

    def _content(self, version: int) -> bytes:
        chance = random.Random(f"{self.seed} version {version}")
        return chance.randbytes(_FIRST_BYTES + version * _GROWTH_BYTES)
