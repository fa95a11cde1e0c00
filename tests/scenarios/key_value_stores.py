"""LevelDB and RocksDB, with each write synced, whose application goes on after an error: for the table in docs/io-error.md.

They need the packages `plyvel` and `rocksdict`, which the tests do not install.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crashmatrix import Journal, SystemUnderTest

ITEMS = 8
VALUE = b"v" * 1500


class LevelDB(SystemUnderTest):
    """Eight keys; the memory table is small, so that it is written out twice."""

    contract = "latest"

    def _open(self, root: Path) -> Any:
        import plyvel

        return plyvel.DB(str(root / "db"), create_if_missing=True, write_buffer_size=4096, compression=None)

    def prepare(self, root: Path) -> None:
        self._open(root).close()

    def workload(self, root: Path, journal: Journal) -> None:
        import plyvel

        with contextlib.closing(self._open(root)) as database:
            for number in range(ITEMS):
                with contextlib.suppress(plyvel.Error), journal.attempt([f"k{number}", number]):
                    database.put(b"k%d" % number, b"%d " % number + VALUE, sync=True)

    def recover(self, root: Path) -> Sequence[Any]:
        with contextlib.closing(self._open(root)) as database:
            return [[key.decode(), int(value.split()[0])] for key, value in database]


class RocksDB(SystemUnderTest):
    """The same."""

    contract = "latest"

    def _open(self, root: Path) -> Any:
        import rocksdict

        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(4096)
        return rocksdict.Rdict(str(root / "db"), options)

    def prepare(self, root: Path) -> None:
        self._open(root).close()

    def workload(self, root: Path, journal: Journal) -> None:
        import rocksdict

        synced = rocksdict.WriteOptions()
        synced.sync = True
        with contextlib.closing(self._open(root)) as database:
            for number in range(ITEMS):
                with contextlib.suppress(Exception), journal.attempt([f"k{number}", number]):
                    database.put(b"k%d" % number, b"%d " % number + VALUE, synced)

    def recover(self, root: Path) -> Sequence[Any]:
        with contextlib.closing(self._open(root)) as database:
            return [[key.decode(), int(value.split()[0])] for key, value in database.items()]
