"""The reference write-ahead log and storage engine, after ModelarDB-RS's log.

    with StorageEngine.open(root) as engine:
        engine.create_table("weather", schema, timestamp="timestamp", tags=["station"])
        batch_id = engine.ingest("weather", batch)   # returns once the rows would survive a power cut
        engine.flush()                               # rows compressed and committed to Delta

Follow a batch from append to recovery through `engine`, `segmented_log`, `segment`, `buffers`, `compression`,
`delta_commit` and `recovery`, in this order. Every step that touches the disk has a failpoint on each side.
"""

from reference_wal.engine import EngineOptions, StorageEngine
from reference_wal.errors import (
    AppendFailed,
    EngineClosed,
    EngineLocked,
    InvalidInput,
    LogCorrupted,
    LogPoisoned,
    ReferenceWalError,
    TableCorrupted,
    TableExists,
    UnknownTable,
)
from reference_wal.write_ahead_log import WriteAheadLog

__all__ = [
    "AppendFailed",
    "EngineClosed",
    "EngineLocked",
    "EngineOptions",
    "InvalidInput",
    "LogCorrupted",
    "LogPoisoned",
    "ReferenceWalError",
    "StorageEngine",
    "TableCorrupted",
    "TableExists",
    "UnknownTable",
    "WriteAheadLog",
]
