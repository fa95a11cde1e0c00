"""A trace as a file.

File format: an Arrow IPC file, compressed with zstd. One row an entry: `kind` (uint8), `offset` (int64), `data`
(binary), `number` (int64). Rows of kind BASE come first: the runs of the first content that are not zero. The schema's
metadata holds everything else under `crashmatrix.trace`, as JSON. Any Arrow reader can open it.

Write order of `save`: (1) the file beside the target, (2) synced, (3) renamed over it, (4) the directory synced. After
(4) the trace survives a power cut, and at no moment is there half a trace under the target's name.
`load` compares the content with the identity stored beside it, so a damaged file is refused.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from crashmatrix.faults.disk.errors import InvalidTrace
from crashmatrix.faults.disk.trace.operations import Operation, Row, operation_from_row, operation_row
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["load", "save"]

_BASE = 0  # beside the recorder's kinds, which start at 1
_METADATA_KEY = b"crashmatrix.trace"
_METADATA_FIELDS = ("filesystem", "size_bytes", "seed", "nudge", "exit_status", "error", "kernel")
_VERSION = 1
_BATCH_BYTES = 8 << 20


def save(trace: Trace, path: Path) -> None:
    """Write a trace to a file, durably. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
            schema = _schema(trace)
            with pa.ipc.new_file(file, schema, options=options) as writer:
                for columns in _columns(trace.base, trace.operations):
                    writer.write_batch(pa.record_batch(list(columns), schema=schema))
            file.flush()
            os.fsync(file.fileno())  # Contents first: a name must never show up without them.
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _sync_directory(path.parent)


def load(path: Path) -> Trace:
    """Read a trace that `save` wrote. Raises InvalidTrace, OSError."""
    data = path.read_bytes()
    try:
        # In this thread: a process of several cannot enter a user namespace of its own.
        reader = pa.ipc.open_file(pa.py_buffer(data), options=pa.ipc.IpcReadOptions(use_threads=False))
        metadata = json.loads(reader.schema.metadata[_METADATA_KEY])
        version, identity = metadata.pop("version"), metadata.pop("identity")
        rows = [row for batch in range(reader.num_record_batches) for row in _rows(reader.get_batch(batch))]
        base = tuple((offset, data) for kind, offset, data, _ in rows if kind == _BASE)
        operations = tuple(operation_from_row(*row) for row in rows if row[0] != _BASE)
        trace = Trace(base=base, operations=operations, **metadata)
    # Arrow reports damage inside compressed buffers as OSError.
    except (pa.ArrowInvalid, OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidTrace(f"{path} is not a trace, or a damaged one: {error}", "record anew") from error
    if version != _VERSION or identity != trace.identity:
        raise InvalidTrace(f"{path} is a damaged trace, or one of another version", "record anew")
    return trace


def _schema(trace: Trace) -> Any:
    metadata = {
        "version": _VERSION,
        "identity": trace.identity,
        **{name: getattr(trace, name) for name in _METADATA_FIELDS},
    }
    fields = [("kind", pa.uint8()), ("offset", pa.int64()), ("data", pa.binary()), ("number", pa.int64())]
    return pa.schema(fields, metadata={_METADATA_KEY: json.dumps(metadata).encode()})


def _columns(base: Iterable[tuple[int, bytes]], operations: Iterable[Operation]) -> Iterator[Iterable[list[Any]]]:
    """Batches of columns, each of about _BATCH_BYTES: one buffer of Arrow's binary type holds at most 2 GiB."""
    batch: list[Row] = []
    held = 0
    for row in [*((_BASE, offset, data, 0) for offset, data in base), *map(operation_row, operations)]:
        batch.append(row)
        held += len(row[2])
        if held >= _BATCH_BYTES:
            yield map(list, zip(*batch, strict=True))
            batch, held = [], 0
    if batch:
        yield map(list, zip(*batch, strict=True))


def _rows(batch: Any) -> Iterator[Row]:
    return zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # The rename was losable until here.
    finally:
        os.close(descriptor)
