"""SQLite in Python, one transaction an item, as an application embeds it: a key-value table behind `sqlite3`.

    crashmatrix run docs/examples/sqlite_store.py:Durable                                       # safe, under kill and power
    crashmatrix run docs/examples/sqlite_store.py:Normal --experiments kill                     # safe
    crashmatrix run docs/examples/sqlite_store.py:Normal --experiments power --fs posix         # loses

These stores have no failpoints and need none: the process is killed before each system call that changes its folder. They
differ in one pragma. https://sqlite.org/pragma.html#pragma_synchronous says of NORMAL in WAL
mode that "a transaction committed in WAL mode with synchronous=NORMAL might roll back following a power loss".
"""

import sqlite3
from contextlib import closing

from crashmatrix import PromiseBroken, SystemUnderTest


class Durable(SystemUnderTest):
    """Each commit is synced before it returns."""

    contract = "prefix"  # transactions come back in order, without a gap, and every acknowledged one is there
    synchronous = "FULL"

    def connect(self, root):
        # isolation_level=None: a transaction begins and ends where the code says, not where the module guesses.
        connection = sqlite3.connect(root / "store.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self.synchronous}")
        return connection

    def prepare(self, root):
        with closing(self.connect(root)) as connection:
            connection.execute("CREATE TABLE store (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")

    def workload(self, root, journal):
        with closing(self.connect(root)) as connection:
            for number in range(8):
                with journal.attempt(number):
                    connection.execute("INSERT INTO store VALUES (?, ?)", (number, f"value {number}"))

    def recover(self, root):
        with closing(self.connect(root)) as connection:
            return [number for (number,) in connection.execute("SELECT id FROM store ORDER BY id")]

    def verify(self, root, promises):
        """Check more than a contract can: the database itself says that it is whole."""
        with closing(self.connect(root)) as connection:
            (answer,) = connection.execute("PRAGMA integrity_check").fetchone()
        if answer != "ok":
            raise PromiseBroken("corrupt", answer)

    def fingerprint(self, root):
        """Compare folders by their rows: the log's salts are drawn at random."""
        return str(self.recover(root))


class Normal(Durable):
    """A commit is synced only at the next checkpoint."""

    synchronous = "NORMAL"
