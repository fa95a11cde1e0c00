"""Data files as versions before checksums named them, ``{lo}-{hi}.parquet``: only Arrow can say whether their bytes are right.

A table may have some still. Each is read as before; one that Arrow cannot read, that has other columns, or whose rows have more
names than the table's dictionary has room for, is refused by an error that names it. Once a workload is over, deltalake adds such
files to a table in a folder of its own, outside of the folder under test.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.transaction import AddAction

from crashmatrix.reference_wal import ParquetDamaged, StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import folder_apart

__all__ = ["read_unchecked"]

_TABLE = "t"
_SCHEMA = pa.schema([("at", pa.int64()), ("names", pa.list_(pa.dictionary(pa.int8(), pa.string())))])
_STORED = pa.schema([("at", pa.int64()), ("names", pa.list_(pa.string()))])
_ROOM = 2**7
"""So many values has a dictionary with indices of one byte."""


def read_unchecked() -> None:
    """Read files without checksums. Raises PromiseBroken unless their rows are there, or the error names the file."""
    many, more = ([f"{start}-{place}" for place in range(_ROOM)] for start in "ab")
    good = [
        {"at": 1, "names": ["a", None]},
        {"at": 2, "names": many},
        {"at": 3, "names": None},
        {"at": 4, "names": more},
    ]
    full = pa.Table.from_pylist([{"at": 5, "names": [*many, *more]}], _STORED)
    with folder_apart() as aside, claimed_as_broken("reading files without checksums"):
        with StorageEngine.open(aside, False) as engine:
            engine.create_table(_TABLE, _SCHEMA, timestamp="at")
        _add(aside, 0, _parquet(pa.Table.from_pylist(good, _STORED)))
        with StorageEngine.open(aside, False) as engine:
            found = engine.read(_TABLE)
        if not found.schema.equals(_SCHEMA) or found.to_pylist() != good:
            raise PromiseBroken(
                "corrupt", f"files without checksums returned other rows, or other types: {found.schema}"
            )
        wrong = {
            "too many names": full,
            "a column less": full.drop_columns("names"),
            "another type": full.select(["at", "at"]),
        }
        files = {
            name: _parquet(table.rename_columns(_STORED.names[: table.num_columns])) for name, table in wrong.items()
        }
        for number, (problem, data) in enumerate({"no Parquet": b"PAR1" * 9, **files}.items(), 1):
            _refuse(aside, _add(aside, number, data), problem)


def _refuse(root: Path, file: Path, problem: str) -> None:
    """Read the rows, and move them if the file is not even Parquet; then leave the file out."""
    with StorageEngine.open(root, False) as engine:
        calls = [partial(engine.read, _TABLE)]
        if problem == "no Parquet":
            calls.append(partial(engine.transfer, _TABLE, root / "elsewhere"))
        for call in calls:
            try:
                call()
            except ParquetDamaged as error:
                if error.path != file:
                    raise PromiseBroken("corrupt", f"{problem} was refused, naming {error.path.name}") from error
                continue
            raise PromiseBroken("corrupt", f"a file without a checksum that has {problem} was taken")
    if (root / "elsewhere").exists():
        raise PromiseBroken("corrupt", f"a transfer of a file that has {problem} has made a table")
    _commit_path(root).unlink()


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _add(root: Path, number: int, data: bytes) -> Path:
    """Add a file to the table, in a commit of deltalake's own; returns its path."""
    file = root / "tables" / _TABLE / f"{number:020d}-{number:020d}.parquet"
    file.write_bytes(data)
    table = DeltaTable(file.parent)
    action = AddAction(file.name, len(data), {}, 0, True, '{"numRecords": 1}')  # a record, with all its fields
    table.create_write_transaction([action], mode="append", schema=table.schema())
    return file


def _commit_path(root: Path) -> Path:
    """Return the newest commit of the table."""
    return max((root / "tables" / _TABLE / "_delta_log").glob("*.json"))
