"""The engine takes tables whose rows can be stored and sorted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import (
    InvalidInput,
    UnknownTable,
)
from tests.reference_wal.engines import opened
from tests.reference_wal.support import batch, contents, numbers

CREATIONS: dict[str, tuple[str, list[tuple[str, pa.DataType]], str, list[str], str]] = {
    "no timestamp column": ("u", [("x", pa.int64())], "time", [], "no column 'time' in the schema; it has x"),
    "no tag column": ("u", [("x", pa.int64())], "x", ["y"], "no column 'y'"),
    "float tag": ("u", [("x", pa.int64()), ("y", pa.float64())], "x", ["y"], "'y' of type double cannot be a tag"),
    "list tag": ("u", [("x", pa.int64()), ("y", pa.list_(pa.int8()))], "x", ["y"], "cannot be a tag"),
    "dictionary of floats": (
        "u",
        [("x", pa.int64()), ("y", pa.dictionary(pa.int8(), pa.float32()))],
        "x",
        ["y"],
        "cannot be a tag",
    ),
    "name": ("../u", [("x", pa.int64())], "x", [], "table name"),
    "time that has no order": ("u", [("x", pa.list_(pa.int64()))], "x", [], "cannot be stored"),
    "type that Delta has not": ("u", [("x", pa.int64()), ("y", pa.duration("us"))], "x", [], "cannot be stored"),
    "type that deltalake makes no table of": (
        "u",
        [("x", pa.int64()), ("y", pa.list_(pa.map_(pa.string(), pa.timestamp("ns"))))],
        "x",
        [],
        "cannot be stored",
    ),
    "dictionary of dictionaries": (
        "u",
        [("x", pa.int64()), ("y", pa.dictionary(pa.int8(), pa.dictionary(pa.int8(), pa.string())))],
        "x",
        [],
        "column 'y' cannot be logged",
    ),
    "type that hides a dictionary": (
        "u",
        [("x", pa.int64()), ("y", pa.map_(pa.string(), pa.dictionary(pa.int8(), pa.string())))],
        "x",
        [],
        "cannot be stored",
    ),
}


@pytest.mark.parametrize(("name", "fields", "timestamp", "tags", "message"), CREATIONS.values(), ids=CREATIONS)
def test_tables_that_cannot_be(
    name: str, fields: list[tuple[str, pa.DataType]], timestamp: str, tags: list[str], message: str, tmp_path: Path
) -> None:
    """A table that could not be stored is refused before anything is created, and the engine goes on."""
    with opened(tmp_path) as engine:
        before = contents(tmp_path)
        with pytest.raises(InvalidInput, match=message):
            engine.create_table(name, pa.schema(fields), timestamp=timestamp, tags=tags)
        assert contents(tmp_path) == before
        with pytest.raises(UnknownTable):
            engine.ingest("u", batch(1.0))
        engine.ingest("t", batch(1.0))
    with opened(tmp_path) as engine:
        assert (engine.tables, numbers(engine.read("t"))) == (["t"], [1.0])


def test_a_table_that_may_have_a_log(tmp_path: Path) -> None:
    """Whether a table has a log is answered by a bool, or a text such as "no" would count as yes."""
    with opened(tmp_path) as engine:
        before = contents(tmp_path)
        with pytest.raises(InvalidInput, match="option wal cannot be 'no'; give True or False"):
            engine.create_table("u", batch(1.0).schema, timestamp="timestamp", wal="no")  # type: ignore[arg-type]
        assert contents(tmp_path) == before
