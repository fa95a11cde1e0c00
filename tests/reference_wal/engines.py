"""Small engines that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crashmatrix.reference_wal import (
    EngineOptions,
    StorageEngine,
)
from tests.reference_wal.support import SCHEMA, batch


def opened(root: Path, *, table: bool = True, options: EngineOptions | None = None) -> StorageEngine:
    """Open the engine, with the table ``t`` in it."""
    engine = StorageEngine.open(root, options=options)
    if table and "t" not in engine.tables:
        engine.create_table("t", SCHEMA, timestamp="timestamp", tags=["station"])
    return engine


def ids(engine: StorageEngine) -> list[int]:
    return [batch_id for batch_id, _ in engine.unpersisted("t")]


CALLS: dict[str, Callable[[StorageEngine, str], object]] = {
    "ingest": lambda engine, table: engine.ingest(table, batch(1.0)),
    "read": lambda engine, table: engine.read(table),
    "truncate": lambda engine, table: engine.truncate(table),
}


def flush(engine: StorageEngine, table: str) -> None:
    engine.flush()
