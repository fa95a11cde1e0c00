"""Files without checksums are read; one that cannot be read, or is read as others, is found."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.delta import dictionaries, parquet_file
from crashmatrix.reference_wal.errors import ParquetDamaged
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.unchecked_files import read_unchecked


def test_the_engine_keeps_its_promise() -> None:
    """Twice in one process: nothing outlasts the first time."""
    read_unchecked()
    read_unchecked()


def nothing(path: Path) -> pa.Table:
    try:
        return right_rows(path)
    except ParquetDamaged:
        return pa.table({"at": pa.array([], pa.int64()), "names": pa.array([], pa.list_(pa.string()))})


def another_name(path: Path, schema: pa.Schema, shape: Any) -> pa.Table:
    try:
        return right_shaped(path, schema, shape)
    except ParquetDamaged as error:
        raise ParquetDamaged(path.parent, "has other columns") from error


def raw(path: Path, schema: pa.Schema, shape: Any) -> pa.Table:
    return parquet_file._shaped(right_rows(path), schema, shape)


def refused(path: Path) -> pa.Buffer:
    if not parquet_file._CHECKED.search(path.name):
        raise ParquetDamaged(path, "has no checksum")
    return right_bytes(path)


def without(files: Collection[Path], schema: pa.Schema, shape: Any = None) -> pa.Table:
    return right_files([file for file in files if parquet_file._CHECKED.search(file.name)], schema, shape)


def first_half(array: pa.Array, kind: pa.DataType) -> Any:
    """Give up the rows whose names have no room."""
    try:
        yield dictionaries._rebuilt(array, kind)
    except pa.ArrowInvalid:
        yield dictionaries._rebuilt(array.slice(0, len(array) // 2), kind)


def counted(path: Path, data: pa.Buffer) -> int:
    try:
        return right_count(path, data)
    except ParquetDamaged:
        return 0


right_rows, right_shaped, right_bytes = parquet_file.read_rows, parquet_file._with_schema, parquet_file.read_bytes
right_files, right_count = parquet_file.read_files, parquet_file.rows_in

WRONG: list[tuple[str, Any, str]] = [
    ("read_rows", nothing, "a file without a checksum that has no Parquet was taken"),
    ("_with_schema", another_name, "was refused, naming t"),
    ("_with_schema", raw, "reading files without checksums raised"),
    ("read_bytes", refused, "reading files without checksums raised ParquetDamaged"),
]


@pytest.mark.parametrize(("name", "instead", "said"), WRONG)
def test_files_that_are_read_wrong(name: str, instead: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of mistake shows."""
    monkeypatch.setattr(parquet_file, name, instead)
    with pytest.raises(PromiseBroken, match=said):
        read_unchecked()


def test_rows_that_have_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not left out."""
    monkeypatch.setattr(dictionaries, "_in_parts", first_half)
    with pytest.raises(PromiseBroken, match=r"returned other rows|raised ParquetDamaged"):
        read_unchecked()


def test_a_table_that_goes_by_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that leaves out such files."""
    monkeypatch.setattr("crashmatrix.reference_wal.table.read_files", without)
    with pytest.raises(PromiseBroken, match="returned other rows"):
        read_unchecked()


def test_a_transfer_that_goes_by_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transfer that moves a file which nobody can read: neither its rows are counted nor its types compared."""
    monkeypatch.setattr("crashmatrix.reference_wal.table.rows_in", counted)
    monkeypatch.setattr("crashmatrix.reference_wal.delta.receiver.rows_in", counted)
    monkeypatch.setattr("crashmatrix.reference_wal.delta.transfer.refuse_unfit", lambda *_: None)
    with pytest.raises(PromiseBroken, match="a file without a checksum that has no Parquet was taken"):
        read_unchecked()
