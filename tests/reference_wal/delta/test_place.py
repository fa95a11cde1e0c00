"""Paths that deltalake takes for others are refused; all others are where the tables are."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reference_wal import InvalidInput, StorageEngine
from crashmatrix.reference_wal.delta.place import checked_place
from tests.reference_wal.support import SCHEMA, batch, numbers


@pytest.mark.parametrize("name", ["a%20b", "caf%C3%A9", "%2f", "a\\b", "new\nline", "tab\t"])
def test_refused(name: str, tmp_path: Path) -> None:
    """Before anything is made; the error says what is wrong with the path."""
    with pytest.raises(InvalidInput, match="another path; rename the folder"):
        StorageEngine.open(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["a b", "%zz", "100%", "a#b", "a?b", "ü", "a:b", "a[b]", "a&b+c=d", "'\"", ".hidden", "~"]
)
def test_allowed(name: str, tmp_path: Path) -> None:
    """The rows are in that folder, and in no other."""
    for session in range(2):
        with StorageEngine.open(tmp_path / name) as engine:
            if not session:
                engine.create_table("t", SCHEMA, timestamp="timestamp")
            engine.ingest("t", batch(float(session)))
            engine.flush()
            assert numbers(engine.read("t")) == [0.0, 1.0][: session + 1]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_process_that_changes_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An engine that was opened by a relative path stays where it is."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert checked_place(Path("db")) == tmp_path / "a" / "db"
    with StorageEngine.open("db") as engine:
        engine.create_table("t", SCHEMA, timestamp="timestamp")
        monkeypatch.chdir(tmp_path / "b")
        engine.ingest("t", batch(1.0))
        engine.flush()
        assert numbers(engine.read("t")) == [1.0]
    assert list((tmp_path / "b").iterdir()) == []
    with StorageEngine.open(tmp_path / "a" / "db") as engine:
        assert numbers(engine.read("t")) == [1.0]
