"""The folder of one table's log: its name, and how it is removed.

Removing, write order: 1. rename the folder to ``.removed-{table}``; 2. sync the root (the log is gone permanently);
3. delete the hidden folder. An opening that finds one syncs the root first: the process may have died between 1 and 2.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from crashmatrix.reference_wal.durable_io import remove_tree, step, sync_directory
from crashmatrix.reference_wal.errors import InvalidInput

__all__ = ["check_table_name", "delete_hidden", "delete_leftover", "hide", "is_leftover"]

HIDE_FOLDER = step("wal.remove_table.rename", "the log is whole and named", "hidden, not yet durably")
SYNC_HIDDEN = step("wal.remove_table.sync", "hidden in the cache only", "the log is gone permanently")
DELETE_FOLDER = step("wal.remove_table.delete", "hidden, its files still there", "its space is free")

_REMOVED = ".removed-"
_TABLE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def check_table_name(table: str) -> None:
    """Raise InvalidInput unless ``table`` can name a folder: 1 to 100 of ASCII letters, digits, ``_`` and ``-``."""
    if not _TABLE_NAME.fullmatch(table):
        raise InvalidInput(
            f"table name {table!r}: use 1 to 100 ASCII letters, digits, '_' or '-', not starting with '-'"
        )


def hide(root: Path, table: str) -> None:
    """Remove the log of the table, at once; durable on return. Its space is freed by `delete_hidden`. Raises OSError."""
    hidden = root / f"{_REMOVED}{table}"
    if hidden.exists():  # An earlier removal of this name failed after its sync.
        shutil.rmtree(hidden)
    with HIDE_FOLDER:
        (root / table).rename(hidden)
    with SYNC_HIDDEN:  # The rename removes one name at once, never some of the segments.
        sync_directory(root)


def delete_hidden(root: Path, table: str) -> None:
    """Free the space of a log that `hide` has removed. Raises OSError."""
    with DELETE_FOLDER:
        shutil.rmtree(root / f"{_REMOVED}{table}")


def is_leftover(folder: Path) -> bool:
    """Whether the folder is that of a log whose removal was cut short."""
    return folder.name.startswith(_REMOVED)


def delete_leftover(folder: Path) -> None:
    """Free the space of a log whose removal was cut short. Raises OSError."""
    with DELETE_FOLDER:
        remove_tree(folder)
