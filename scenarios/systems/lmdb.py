"""LMDB with each of the flags that trade durability for speed: one write transaction an item."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb

from crashmatrix.scenarios.systems.values import ITEMS, check_value, digest_of, value_of
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["LMDB"]

_MAP_BYTES = 4 * 1024 * 1024


class LMDB(SystemUnderTest):
    """A memory-mapped B+ tree, copied on write; a commit syncs the pages, then writes one of two meta pages and syncs it.

    Documentation: http://www.lmdb.tech/doc/group__mdb.html (``mdb_env_open``). With any flags, the kernel holds every
    commit when the process dies: ``safe`` under kill. Under power:

    - default: ``safe``.
    - ``metasync=False`` (MDB_NOMETASYNC): "a system crash may undo the last committed transaction": ``loses``.
    - ``sync=False`` (MDB_NOSYNC): "a system crash can corrupt the database or lose the last transactions": ``loses``,
      ``corrupt`` or ``cannot-open``, which may be a death by SIGBUS, where a page of the map lies beyond the file.
    - ``writemap=True`` (MDB_WRITEMAP): synced as by default: ``safe``.

    Args:
        flags: keyword arguments for ``lmdb.open``.
    """

    contract = "prefix"

    def __init__(self, **flags: bool) -> None:
        self._flags = flags

    def _open(self, root: Path) -> Any:
        return lmdb.open(str(root / "db"), map_size=_MAP_BYTES, **self._flags)

    def prepare(self, root: Path) -> None:
        """Make an empty database."""
        self._open(root).close()

    def workload(self, root: Path, journal: Journal) -> None:
        """Put the items, each in a transaction of its own, whose commit's return is the promise."""
        with self._open(root) as environment:
            for number in range(ITEMS):
                with journal.attempt(number), environment.begin(write=True) as transaction:
                    transaction.put(_key(number), value_of(self.seed, number))

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the database, which picks the newest valid meta page; read and compare every item; close it."""
        items = []
        with self._open(root) as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                number = int(key)
                check_value(self.seed, number, value)
                items.append(number)
        return items

    def fingerprint(self, root: Path) -> str:
        """Digest the items: the lock file holds process ids."""
        return digest_of([], self.recover(root))


def _key(number: int) -> bytes:
    return b"%04d" % number
