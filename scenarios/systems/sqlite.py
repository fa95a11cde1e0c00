"""SQLite in each of its durability modes: rows inserted one transaction each.

The table is made in ``prepare``, so every crash meets a database that exists. Checkpoints come often (``wal_autocheckpoint``)
so that the log is copied back, and begun anew, several times in one run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.values import ITEMS, LATER, check_value, digest_of, file_sizes, value_of
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["SQLite"]

_CHECKPOINT_PAGES = 24


class SQLite(SystemUnderTest):
    """A table of SQLite's, one autocommitted insert an item.

    Documentation: https://sqlite.org/pragma.html#pragma_synchronous, #pragma_journal_mode and
    https://sqlite.org/atomiccommit.html. Every mode survives the death of the process: ``safe`` under kill. Under power:

        synchronous   wal       delete    truncate, persist
        extra         safe      safe      safe
        full          safe      loses     safe
        normal        loses     loses     loses (truncate), safe so far (persist)
        off           "the database might become corrupted": loses or corrupt, in every journal mode

    - wal, normal: "a transaction committed in WAL mode with synchronous=NORMAL might roll back following a power loss",
      but the database stays consistent: never ``corrupt``.
    - delete, full: unlinking the rollback journal is the commit, and only EXTRA syncs the directory afterwards. Without
      that the journal may be back, and rolls the acknowledged row back. FULL syncs the journal it truncates or zeroes;
      NORMAL the one it zeroes (not documented; seen in ``zeroJournalHdr``, pager.c).
    - normal, other than wal: "a very small (though non-zero) chance that a power loss at just the wrong time could
      corrupt the database in journal_mode=DELETE on an older filesystem"; not seen on ext4.

    Args:
        journal_mode: ``wal``, ``delete``, ``truncate`` or ``persist``.
        synchronous: ``off``, ``normal``, ``full`` or ``extra``.
    """

    contract = "prefix"

    def __init__(self, journal_mode: str = "wal", synchronous: str = "full") -> None:
        self._journal_mode, self._synchronous = journal_mode, synchronous

    @contextmanager
    def _open(self, root: Path) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode, closed at the end: in WAL mode that copies the log back and removes it."""
        connection = sqlite3.connect(root / "rows.db", isolation_level=None)
        try:
            connection.execute(f"PRAGMA journal_mode={self._journal_mode}")
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            yield connection
        finally:
            connection.close()

    def prepare(self, root: Path) -> None:
        """Make the table."""
        with self._open(root) as connection:
            connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, value BLOB)")

    def workload(self, root: Path, journal: Journal) -> None:
        """Insert the rows; each statement is a transaction, and its return the promise."""
        self._insert(range(ITEMS), root, journal)

    def resume(self, root: Path, journal: Journal) -> None:
        """Insert more rows."""
        self._insert(LATER, root, journal)

    def _insert(self, numbers: Iterable[int], root: Path, journal: Journal) -> None:
        with self._open(root) as connection:
            for number in numbers:
                with journal.attempt(number):
                    connection.execute("INSERT INTO rows VALUES (?, ?)", (number, value_of(self.seed, number)))

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the database, which rolls back or replays; check it as SQLite does, then every row; close it."""
        try:
            with self._open(root) as connection:
                return self._items(connection)
        except sqlite3.OperationalError:
            raise  # Cannot be opened, as opposed to: was opened and is wrong.
        except sqlite3.DatabaseError as error:
            raise PromiseBroken("corrupt", f"SQLite: {error}") from error

    def _items(self, connection: sqlite3.Connection) -> list[Item]:
        problems = [text.replace("\n", "; ") for (text,) in connection.execute("PRAGMA integrity_check")]
        if problems != ["ok"]:
            raise PromiseBroken("corrupt", f"integrity_check: {'; '.join(problems[:3])}")
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'rows'").fetchone():
            raise PromiseBroken("loses", "the table, which was there before the first crash point, is gone")
        items = []
        for number, value in connection.execute("SELECT number, value FROM rows ORDER BY number"):
            check_value(self.seed, number, value)
            items.append(number)
        return items

    def fingerprint(self, root: Path) -> str:
        """Digest sizes and rows: logs and journals hold salts drawn at random."""
        sizes = file_sizes(root)
        return digest_of(sizes, self.recover(root))
