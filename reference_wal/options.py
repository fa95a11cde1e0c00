"""The engine's options, and which tables it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import pyarrow as pa

from crashmatrix.reference_wal.delta import folder as table_folder
from crashmatrix.reference_wal.delta.compression import read_parquet, to_parquet
from crashmatrix.reference_wal.delta.dictionaries import encoded
from crashmatrix.reference_wal.errors import InvalidInput
from crashmatrix.reference_wal.log.batch_check import check_loggable
from crashmatrix.reference_wal.log.segment_writer import PREALLOCATE_BYTES
from crashmatrix.reference_wal.log.write_ahead_log import SEGMENT_BYTES_MAX
from crashmatrix.reference_wal.models.bound import Bound
from crashmatrix.reference_wal.models.segments import Shape
from crashmatrix.reference_wal.option_values import check_values

__all__ = ["TAG_TYPES", "EngineOptions", "check_columns", "check_storable", "check_table"]

TAG_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)
"""The types of a tag."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How the engine trades memory and files for speed.

    Attributes:
        segment_bytes_max: size in bytes at which a log segment is closed.
        preallocate_bytes: how far to fill a segment ahead with zeros, in bytes; 0 for none. `log.segments.active_segment` says
            why.
        generation_bytes_max: buffered bytes (Arrow) of a table at which its generation is sealed and committed.
        memory_bytes_max: buffered bytes of all tables that are kept in memory; beyond it the largest table's go to disk.
        compressed_bytes_max: compressed bytes of all tables that wait to be committed; beyond it the largest table's are. 0: each
            generation is committed as soon as it is compressed.
        checkpoint_commits: Delta commits between two checkpoints.
        flush_seconds: have a background thread commit full generations at once, and everything that waits every so many
            seconds; None for no thread: then the `ingest` that fills a generation commits it.
        idle_seconds: have a background thread look every so many seconds for tables that got no batch for so long, and compress
            what waits of them (and commit it, if nothing compressed may wait); None for no such thread.
        identity: identity of tables made from now on; random if empty. Set it only to make runs comparable, and never the
            same for two tables that have one name after each other.
        clock: returns seconds that never go back; ``idle_seconds`` are measured by it. Replace it only to decide what is idle.

    Raises:
        InvalidInput: an option cannot have this value (`option_values`).
    """

    segment_bytes_max: int = SEGMENT_BYTES_MAX
    preallocate_bytes: int = PREALLOCATE_BYTES
    generation_bytes_max: int = 64 * 1024 * 1024
    memory_bytes_max: int = 256 * 1024 * 1024
    compressed_bytes_max: int = 0
    checkpoint_commits: int = 50
    flush_seconds: float | None = None
    idle_seconds: float | None = None
    identity: str = ""
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        check_values({field.name: getattr(self, field.name) for field in fields(self)})


def check_table(schema: pa.Schema, timestamp: str, tags: list[str], bounds: Mapping[str, Bound] | None = None) -> None:
    """Raise InvalidInput unless there can be a table of this schema; by models, if bounds are given."""
    check_columns(schema, timestamp, tags)
    check_loggable(schema)
    if bounds is None:
        check_storable(schema, timestamp, tags)
    else:
        check_storable(Shape(schema, timestamp, tags, bounds).segments, "start", tags)


def check_columns(schema: pa.Schema, timestamp: str, tags: list[str]) -> None:
    """Raise InvalidInput unless the schema has these columns and the tags can be tags."""
    for column in (timestamp, *tags):
        if schema.get_field_index(column) < 0:
            raise InvalidInput(f"no column {column!r} in the schema; it has {', '.join(schema.names)}")
    for tag in tags:
        kind = schema.field(tag).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not any(test(kind) for test in TAG_TYPES):
            raise InvalidInput(f"column {tag!r} of type {kind} cannot be a tag; tags are strings, integers or booleans")


def check_storable(schema: pa.Schema, timestamp: str, tags: list[str]) -> None:
    """Send a row of nulls to Parquet and back: what cannot be stored is refused now, not once rows are promised.

    Raises:
        InvalidInput: Delta, Parquet or the sorting within a series has no place for a column's type.
    """
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    try:
        row = pa.Table.from_arrays([pa.nulls(1, field.type) for field in schema], schema=nullable)
        table_folder.check_schema(schema)
        parquet = to_parquet(row, timestamp=timestamp, tags=tags)
        encoded(read_parquet(pa.BufferReader(parquet)), nullable)
    except Exception as error:  # deltalake raises plain Exception
        raise InvalidInput(f"rows of this schema cannot be stored: {str(error).splitlines()[0]}") from error
