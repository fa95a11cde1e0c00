"""Creating and dropping a Delta table's folder: the rename in each is its commit point.

Create, write order:
    1. the table whole under ``.creating-{table}``; its contents, then its name, synced
    2. the table's log, durable                                       (`WriteAheadLog.create_table_log`)
    3. rename to ``{table}``; sync the folder above
    ── the table exists ──

Drop, write order:
    1. rename to ``.dropped-{table}``; sync the folder above
    ── the table is gone, whatever else is still there ──
    2. the spill files, then the log, removed; each durably           (`finish_drop`)
    3. the hidden folder removed

So a log whose table has a folder under none of the three names is not a half-done creation or removal: somebody removed the
folder. `opening` has the table of cases.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties
from deltalake.exceptions import TableNotFoundError

from crashmatrix.reference_wal.delta.sealed_commit import sealed
from crashmatrix.reference_wal.durable_io import remove_tree, step, sync_directory, sync_path

__all__ = [
    "CREATING",
    "DROPPED",
    "NO_HOOKS",
    "check_schema",
    "commit_path",
    "finish_drop",
    "give_name",
    "hide",
    "make_unfinished",
    "remove_unfinished",
]

CREATING, DROPPED = ".creating-", ".dropped-"
"""Prefixes of the table's name while it is created, and while it is dropped."""

NO_HOOKS = PostCommitHookProperties(create_checkpoint=False, cleanup_expired_logs=False)
"""deltalake does nothing of its own after a commit."""

MAKE_TABLE = step("delta.create.write", "no trace of the table", "the table under its temporary name, not durable")
SYNC_TABLE = step("delta.create.sync", "temporary, in the cache only", "the table is durable under its temporary name")
NAME_TABLE = step("delta.create.rename", "temporary name", "final name, not yet durably")
SYNC_NAMED = step("delta.create.sync_folder", "named in the cache only", "the table is durable")
HIDE_TABLE = step("drop.table.rename", "the table and all its rows are there", "hidden, not yet durably")
SYNC_HIDDEN = step("drop.table.sync", "hidden in the cache only", "the table is gone permanently, its files are not")
DELETE_HIDDEN = step("drop.table.delete", "hidden, without a log", "its space is free")
REMOVE_UNFINISHED = step("recovery.unfinished_table.delete", "a table that was never created", "its folder is gone")


def check_schema(schema: pa.Schema) -> None:
    """Raise an Exception, of deltalake's choice, unless it makes tables of this schema: of maps of nanoseconds it does not."""
    with suppress(TableNotFoundError):  # Once made, it is looked for in another memory.
        DeltaTable.create("memory:///t", schema=schema)


def make_unfinished(path: Path, schema: pa.Schema, configuration: dict[str, str]) -> None:
    """Make an empty Delta table under the temporary name of ``path``; durable on return. Raises OSError."""
    unfinished = path.parent / f"{CREATING}{path.name}"
    if unfinished.exists():  # Only outside the engine's folder, which is cleared on opening.
        remove_unfinished(path)
    with MAKE_TABLE:
        DeltaTable.create(
            str(unfinished),
            schema.remove_metadata(),
            configuration=configuration,
            raise_if_key_not_exists=False,
            post_commithook_properties=NO_HOOKS,
        )
        _seal_first(commit_path(unfinished, 0))
    with SYNC_TABLE:  # Contents, inner names, its own name: a log that is there proves that this is as well.
        sync_path(commit_path(unfinished, 0))
        sync_directory(unfinished / "_delta_log")
        sync_directory(unfinished)
        sync_directory(unfinished.parent)


def _seal_first(commit: Path) -> None:
    """Give the commit that deltalake made of a new table a checksum (`sealed_commit`): nobody reads it yet."""
    actions = [json.loads(line) for line in commit.read_bytes().splitlines()]
    (info,) = (action["commitInfo"] for action in actions if "commitInfo" in action)
    others = [action for action in actions if "commitInfo" not in action]
    commit.write_bytes(sealed({name: info[name] for name in ("timestamp", "operation")}, others, 0))


def give_name(path: Path) -> None:
    """Create the table made by `make_unfinished`, at once; durable on return. Raises OSError."""
    with NAME_TABLE:
        (path.parent / f"{CREATING}{path.name}").rename(path)
    with SYNC_NAMED:
        sync_directory(path.parent)


def remove_unfinished(path: Path) -> None:
    """Delete what `make_unfinished` made: it was never acknowledged, so nothing is owed."""
    with REMOVE_UNFINISHED:
        remove_tree(path.parent / f"{CREATING}{path.name}")


def hide(path: Path) -> None:
    """Drop the table, at once; durable on return. Raises OSError."""
    with HIDE_TABLE:
        path.rename(path.parent / f"{DROPPED}{path.name}")
    with SYNC_HIDDEN:  # Before its log goes: a table that came back without one would look damaged.
        sync_directory(path.parent)


def finish_drop(path: Path, *clean_up: Callable[[], None]) -> None:
    """Do what is left of a drop; repeating it after a crash is harmless. The hidden folder goes last: it says what to do."""
    for remove in clean_up:
        remove()
    with DELETE_HIDDEN:
        remove_tree(path.parent / f"{DROPPED}{path.name}")


def commit_path(table: Path, version: int) -> Path:
    """Return where the Delta table at ``table`` has the json of a version."""
    return table / "_delta_log" / f"{version:020d}.json"
