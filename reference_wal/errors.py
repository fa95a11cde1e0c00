"""The errors of the reference log and engine, each with its cause and the next step.

ReferenceWalError
├── InvalidInput          the caller's mistake: a bad table name, schema, batch or option (also a ValueError)
│   ├── TableExists
│   └── UnknownTable
├── EngineClosed          used after close
├── EngineLocked          another process has this folder open
├── LogPoisoned           a write or sync failed; what the page cache holds cannot be believed until reopened
│   ├── AppendFailed      the very append that failed: its batch may or may not be in the log
│   └── BackgroundFailed  it failed in the background thread, where no caller was waiting
├── TransferFailed        the receiving store refused; the rows are still here
├── SpillCorrupted        a spill file changed after it was written
├── OptionsCorrupted      the file of options set at run time changed after it was written
├── LogCorrupted          the log's bytes on disk break an invariant that no crash could have broken
└── TableCorrupted        likewise for the Delta table
    └── ParquetDamaged    one of its Parquet files does not hold what was committed
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "AppendFailed",
    "BackgroundFailed",
    "EngineClosed",
    "EngineLocked",
    "InvalidInput",
    "LogCorrupted",
    "LogPoisoned",
    "OptionsCorrupted",
    "ParquetDamaged",
    "ReferenceWalError",
    "SpillCorrupted",
    "TableCorrupted",
    "TableExists",
    "TransferFailed",
    "UnknownTable",
]


class ReferenceWalError(Exception):
    """Base of everything this package raises."""


class InvalidInput(ReferenceWalError, ValueError):
    """The caller requested something impossible; nothing was changed."""


class TableExists(InvalidInput):
    """A table of this name is already there."""

    def __init__(self, table: str) -> None:
        super().__init__(f"table {table!r} exists already; choose another name or use that table")


class UnknownTable(InvalidInput):
    """No table of this name."""

    def __init__(self, table: str, known: list[str]) -> None:
        there = ", ".join(known) or "none"
        super().__init__(f"no table {table!r}; create it first (tables here: {there})")


class EngineClosed(ReferenceWalError):
    """The engine or log was used after it was closed."""

    def __init__(self) -> None:
        super().__init__("closed; open it again to go on")


class EngineLocked(ReferenceWalError):
    """Another process holds the folder's lock."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"{root} is open in another process; two writers would overwrite each other, close that one first"
        )


class LogPoisoned(ReferenceWalError):
    """An earlier write or sync failed, so the log refuses appends until it is reopened."""

    def __init__(self, path: Path, cause: BaseException) -> None:
        super().__init__(
            f"{path}: takes nothing more since a write or sync failed ({cause!r}); the kernel may have dropped the data, "
            f"reopen the log: every acknowledged batch will be read back from disk"
        )


class AppendFailed(LogPoisoned):
    """This append was not acknowledged: after reopening the batch is there whole or not at all."""


class BackgroundFailed(LogPoisoned):
    """The background thread failed to commit; what it was committing is still in the log."""


class TransferFailed(ReferenceWalError):
    """The receiving side refused the rows. They are still here; whether it has them too, the next transfer finds out."""

    def __init__(self, uri: str, cause: BaseException | str) -> None:
        super().__init__(f"{uri}: the transfer failed ({cause}); nothing was removed, transfer to the same place again")


class SpillCorrupted(ReferenceWalError):
    """A spill file does not hold what was written to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path}: changed or was cut since it was written; reopen the engine: with a log its rows are read from there, "
            f"without one they are lost, and were never acknowledged"
        )


class OptionsCorrupted(ReferenceWalError):
    """The file of options set at run time does not hold what was written to it. Nothing was changed."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(
            f"{path}: {problem}; no row depends on it: remove it to go on with the options given to open, then set "
            f"them again"
        )


class LogCorrupted(ReferenceWalError):
    """Bytes of the log changed or vanished in a way no crash explains. Nothing was dropped or rewritten."""

    def __init__(self, path: Path, problem: str, *, offset: int | None = None, record: int | None = None) -> None:
        self.path, self.offset, self.record = path, offset, record
        where = "" if offset is None else f", byte {offset}"
        where += "" if record is None else f", record {record}"
        super().__init__(
            f"{path}{where}: {problem}; no crash of ours leaves this, so the file was damaged or removed afterwards: "
            f"restore it from a copy, or move the table's folder away to go on without its unpersisted batches"
        )


class TableCorrupted(ReferenceWalError):
    """A file of the Delta table is damaged or gone, and the log does not hold what was in it. Nothing was changed."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"{path}: {problem}; the log does not hold what was in it, restore the file from a copy")


class ParquetDamaged(TableCorrupted):
    """A committed Parquet file changed or vanished after it was written. No row of it was returned; nothing was changed."""
