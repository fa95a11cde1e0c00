"""A table's files are read past the engine: counts, order and damage show."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crashmatrix.reference_wal import StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.rows.files import DeltaFile, check_commit, files_in, read_file

SCHEMA = pa.schema([("at", pa.timestamp("us")), ("site", pa.dictionary(pa.int8(), pa.string()))])


def test_files_of_a_table(tmp_path: Path) -> None:
    """Names, ranges and counts come from Delta, rows from Parquet, sorted with nulls last."""
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA, timestamp="at", tags=["site"])
        for sites in (["b", None], ["a"]):
            engine.ingest(
                "t", pa.record_batch([pa.array(range(len(sites))), pa.array(sites)], ["at", "site"]).cast(SCHEMA)
            )
        engine.flush()
        (file,) = files_in(tmp_path / "tables" / "t", "t")
        assert [file.path] == engine.files("t") and (file.lo, file.hi, file.rows) == (0, 1, 3)
        assert read_file(file, ["site", "at"], "t")["site"].to_pylist() == ["a", "b", None]
        assert read_file(file, [], "t", only=["at"]).column_names == ["at"]


def test_what_does_not_fit(tmp_path: Path) -> None:
    """Another count than the commit's, rows out of order, no Parquet: each is a finding."""
    path = tmp_path / f"{0:020d}-{1:020d}-{0:016x}.parquet"
    pq.write_table(pa.table({"at": [2, 1]}), path)
    for file, text in ((DeltaFile(path, 0, 1, 3), "its commit 3"), (DeltaFile(path, 0, 1, 2), "not sorted by at")):
        with pytest.raises(PromiseBroken, match=text):
            read_file(file, ["at"], "t")
    path.write_bytes(b"PAR1")
    with pytest.raises(PromiseBroken, match="cannot be read"):
        read_file(DeltaFile(path, 0, 1, 2), ["at"], "t")


WRONG: dict[str, dict[str, object]] = {
    "commitInfo": {"timestamp": 5},
    "add": {"dataChange": False},
    "add, later": {"modificationTime": 5},
    "add, size": {"size": 1},
    "remove": {"deletionTimestamp": 5},
    "remove, no change": {"dataChange": False},
    "remove, empty": {"size": 0},
    "txn": {"version": -2},
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_commit_shows(kind: str, tmp_path: Path) -> None:
    """Each action of the engine's commits is looked at: times, sizes, and whether data changed."""
    with StorageEngine.open(tmp_path) as engine:
        engine.create_table("t", SCHEMA, timestamp="at", tags=["site"])
        engine.ingest("t", pa.record_batch([pa.array([1]), pa.array(["a"])], ["at", "site"]).cast(SCHEMA))
        engine.flush()
        commits = sorted((tmp_path / "tables" / "t" / "_delta_log").glob("*.json"))
        for commit in commits:
            check_commit(commit, "t")
        lines = commits[-1].read_bytes().splitlines()
        assert [next(iter(json.loads(line))) for line in lines] == ["commitInfo", "add", "txn"]
        engine.truncate("t")
        removed = commits[-1].with_name(f"{2:020d}.json")
        lines += [line for line in removed.read_bytes().splitlines() if b'"remove"' in line]
        check_commit(removed, "t")
        engine.ingest("t", pa.record_batch([pa.array([1]), pa.array(["a"])], ["at", "site"]).cast(SCHEMA))
        engine.flush()
        newest = commits[-1].with_name(f"{3:020d}.json")
        lines += [line for line in newest.read_bytes().splitlines() if b'"add"' in line]
    name = kind.partition(",")[0]
    action = next(found[name] for found in map(json.loads, reversed(lines)) if name in found)
    newest.write_text(json.dumps({name: {**action, **WRONG[kind]}}))
    with pytest.raises(PromiseBroken, match=f"has the action {name}"):
        check_commit(newest, "t")
