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
_MODELARDB = "crashmatrix.scenarios.systems.modelardb.system:ModelarDB"
_MODELARDB_FLAWS = {
    "forgotten-id": "an empty leftover segment's id forgotten",
    "older-segment": "the next id taken from an older closed segment",
    "lost-leftover": "the next id known by one file's name only",
    "split-batch": "a batch persisted with the first of its buffers",
    "header": "a segment without its header refused",
    "torn-tail": "a segment with part of a record refused",
    "no-checksum": "records without checksums",
    "unsynced-commit": "commits not synced",
    "torn-append": "a write that failed, and the log appends behind what it left",
    "failed-rotation": "a rotation that failed taken for an append that failed",
    "dead-writer": "a commit that failed, and nobody commits any more",
    "shifted-id": "a sync that failed, and the log goes on",
    "no-folder-sync": "its folder never synced",
}
_MODELARDB_376 = tuple(_MODELARDB_FLAWS)
_MODELARDB_TABLES = "crashmatrix.scenarios.systems.modelardb.tables:Tables"
_MODELARDB_TABLE_FLAWS = {
    "truncated-id": "the next id forgotten amid a truncation",
    "drop-order": "a table's log removed before the table",
    "truncate-race": "the record of a batch removed that was stored amid a truncation",
    "switched-off": "segments kept while the log is off",
    "transfer-twice": "rows that arrived are not known to have",
    "transfer-race": "rows removed that were committed amid a transfer",
}

BUILT_IN = {
    "reference": BuiltIn(
        "crashmatrix.scenarios.systems.reference.engine:ReferenceEngine",
        "the reference log and engine, on real temperatures",
    ),
    "reference:new": BuiltIn(
        "crashmatrix.scenarios.systems.reference.engine:NewEngine",
        "the reference log and engine, which begin in a folder that is not there",
    ),
    "reference:threads": BuiltIn(
        "crashmatrix.scenarios.systems.reference.overlapping.engine:ThreadedEngine",
        "the reference log and engine, called by several threads at once (meant for kills)",
    ),
    "reference-log": BuiltIn("crashmatrix.scenarios.systems.reference.log:ReferenceLog", "the reference log by itself"),
    "reference-log:threads": BuiltIn(
        "crashmatrix.scenarios.systems.reference.log:ThreadedLog",
        "the reference log, four threads on one table (meant for power cuts)",
        {"threads": 4},
    ),
    "reference:models": BuiltIn(
        "crashmatrix.scenarios.systems.reference.models:ModelsEngine",
        "the reference log and engine, tables compressed by models under error bounds",
    ),
    "reference:switched": BuiltIn(
        "crashmatrix.scenarios.systems.reference.switched:SwitchedEngine",
        "the reference engine, logs of tables switched on and off and options set while it runs",
    ),
    "reference:compressed": BuiltIn(
        "crashmatrix.scenarios.systems.reference.compressed:CompressedEngine",
        "the reference engine, compressed rows of tables with and without a log waiting for their commit",
    ),
    "reference:no-log": BuiltIn(
        "crashmatrix.scenarios.systems.reference.engine:UnloggedEngine",
        "the reference engine without its log: a batch is acknowledged once a flush returned",
    ),
    **{
        f"sqlite:{mode}-{level}": BuiltIn(
            "crashmatrix.scenarios.systems.sqlite:SQLite",
            f"SQLite, journal_mode={mode}, synchronous={level}",
            {"journal_mode": mode, "synchronous": level},
        )
        for mode in _SQLITE_JOURNAL_MODES
        for level in _SQLITE_SYNCHRONOUS
    },
    **{
        f"replace:{sync}": BuiltIn("crashmatrix.scenarios.systems.replace:Replace", about, {"sync": sync})
        for sync, about in _REPLACE_SYNCS.items()
    },
    **{
        f"lmdb:{name}": BuiltIn(
            "crashmatrix.scenarios.systems.lmdb:LMDB",
            f"LMDB, {', '.join(f'{flag}={value}' for flag, value in flags.items()) or 'its defaults'}",
            flags,
        )
        for name, flags in _LMDB_FLAGS.items()
    },
    "deltalake:plain": BuiltIn(
        "crashmatrix.scenarios.systems.deltalake_plain:PlainDeltaLake", "delta-rs on a local path, one append an item"
    ),
    "modelardb:376": BuiltIn(_MODELARDB, "ModelarDB's write-ahead log as merged", {"flaws": _MODELARDB_376}),
    "modelardb:389": BuiltIn(_MODELARDB, "the same with its first fix", {"flaws": _MODELARDB_376[1:]}),
    "modelardb:fixed": BuiltIn(_MODELARDB, "the same without any flaw that was found"),
    **{
        f"modelardb:{flaw}": BuiltIn(
            _MODELARDB, f"the same, {about}", {"flaws": (flaw,), "sync_fails": flaw == "shifted-id"}
        )
        for flaw, about in _MODELARDB_FLAWS.items()
    },
    "modelardb:older-segment": BuiltIn(
        _MODELARDB,
        "the same, the next id taken from an older closed segment; a batch counts if part of it came back",
        {"flaws": ("older-segment", "split-batch"), "parts": True},
    ),
    "modelardb:tables": BuiltIn(
        _MODELARDB_TABLES,
        "ModelarDB's tables truncated, dropped, transferred, its log off and on, as of June 2026",
        {"flaws": (*_MODELARDB_376[1:], *_MODELARDB_TABLE_FLAWS)},
    ),
    "modelardb:tables-fixed": BuiltIn(_MODELARDB_TABLES, "the same without any flaw that was found"),
    **{
        f"modelardb:{flaw}": BuiltIn(_MODELARDB_TABLES, f"the same, {about}", {"flaws": (flaw,)})
        for flaw, about in _MODELARDB_TABLE_FLAWS.items()
    },
}
