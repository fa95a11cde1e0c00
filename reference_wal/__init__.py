"""The reference write-ahead log and storage engine, after ModelarDB-RS's log.

    with StorageEngine.open(root) as engine:
        engine.create_table("weather", schema, timestamp="timestamp", tags=["station"])
        batch_id = engine.ingest("weather", batch)   # returns once the rows would survive a power cut
        engine.flush()                               # rows compressed and committed to Delta
        engine.switch_log(False, "weather")          # from now on, rows are promised by `flush` only
        engine.change_options(memory_bytes_max=10**8)    # kept in the folder: holds in later openings as well

Follow a batch from append to recovery through `engine`, `table`, `log.segmented_log`, `log.segments.segment`, `buffers`,
`delta.compression`, `delta.parquet_file`, `delta.commit`, `opening`, `log.unrecovered`, `log.recovery` and `delta.recovery`, in
this order; then `settings`, `log.table_logs`, `delta.folder`, `spill`, `delta.checkpoint` and `delta.transfer`. Every step that
touches the disk has a failpoint on each side.
"""

from crashmatrix.reference_wal.engine import StorageEngine
from crashmatrix.reference_wal.errors import (
    AppendFailed,
    BackgroundFailed,
    EngineClosed,
    EngineLocked,
    InvalidInput,
    LogCorrupted,
    LogPoisoned,
    OptionsCorrupted,
    ParquetDamaged,
    ReferenceWalError,
    SpillCorrupted,
    TableCorrupted,
    TableExists,
    TransferFailed,
    UnknownTable,
)
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.reference_wal.options import EngineOptions
from crashmatrix.reference_wal.tally import Counters

__all__ = [
    "AppendFailed",
    "BackgroundFailed",
    "Counters",
    "EngineClosed",
    "EngineLocked",
    "EngineOptions",
    "InvalidInput",
    "LogCorrupted",
    "LogPoisoned",
    "OptionsCorrupted",
    "ParquetDamaged",
    "ReferenceWalError",
    "SpillCorrupted",
    "StorageEngine",
    "TableCorrupted",
    "TableExists",
    "TransferFailed",
    "UnknownTable",
    "WriteAheadLog",
]
