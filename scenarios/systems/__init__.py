"""The systems that come with crashmatrix, by target name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["BUILT_IN", "BuiltIn"]


@dataclass(frozen=True)
class BuiltIn:
    """A target's name resolved: ``place`` is ``module:Class``, ``options`` go to its constructor."""

    place: str
    about: str
    options: dict[str, Any] = field(default_factory=dict)


_SQLITE_JOURNAL_MODES = ("wal", "delete", "truncate", "persist")
_SQLITE_SYNCHRONOUS = ("off", "normal", "full", "extra")
_REPLACE_SYNCS = {
    "none": "a file replaced by renaming, nothing synced",
    "fsync": "a file replaced by renaming, its data synced first",
    "fsync-dir": "a file replaced by renaming, its data synced first and the directory afterwards",
}
_LMDB_FLAGS = {
    "default": {},
    "nosync": {"sync": False},
    "nometasync": {"metasync": False},
    "writemap": {"writemap": True},
}

BUILT_IN = {
    "reference": BuiltIn(
        "scenarios.systems.reference:ReferenceEngine", "the reference log and engine, on real temperatures"
    ),
    **{
        f"sqlite:{mode}-{level}": BuiltIn(
            "scenarios.systems.sqlite:SQLite",
            f"SQLite, journal_mode={mode}, synchronous={level}",
            {"journal_mode": mode, "synchronous": level},
        )
        for mode in _SQLITE_JOURNAL_MODES
        for level in _SQLITE_SYNCHRONOUS
    },
    **{
        f"replace:{sync}": BuiltIn("scenarios.systems.replace:Replace", about, {"sync": sync})
        for sync, about in _REPLACE_SYNCS.items()
    },
    **{
        f"lmdb:{name}": BuiltIn(
            "scenarios.systems.lmdb:LMDB",
            f"LMDB, {', '.join(f'{flag}={value}' for flag, value in flags.items()) or 'its defaults'}",
            flags,
        )
        for name, flags in _LMDB_FLAGS.items()
    },
    "deltalake:plain": BuiltIn(
        "scenarios.systems.deltalake_plain:PlainDeltaLake", "delta-rs on a local path, one append an item"
    ),
}
