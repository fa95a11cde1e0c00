"""The file replaced by renaming: which contents recovery takes for a version."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.replace import Replace
from crashmatrix.scenarios.systems.values import ITEMS
from crashmatrix.scenarios.target.journal import Journal


@pytest.fixture
def versions(tmp_path: Path) -> list[bytes]:
    """Return the file's first version and its last."""
    system = Replace()
    assert system.prepare(tmp_path) == [["settings", 0]]
    first = (tmp_path / "settings").read_bytes()
    system.workload(tmp_path, Journal(tmp_path.parent / f"{tmp_path.name}.journal"))
    return [first, (tmp_path / "settings").read_bytes()]


def test_every_version_is_known(versions: list[bytes], tmp_path: Path) -> None:
    """The last version is recovered, and any earlier one as itself; the temporary file is gone."""
    assert Replace().recover(tmp_path) == [["settings", ITEMS]]
    (tmp_path / "settings").write_bytes(versions[0])
    assert Replace().recover(tmp_path) == [["settings", 0]]
    assert [path.name for path in tmp_path.iterdir()] == ["settings"]


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """Recovery without the file returns nothing."""
    assert Replace().recover(tmp_path) == []


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: bytes(len(data))])
def test_anything_else_is_corrupt(damage: object, versions: list[bytes], tmp_path: Path) -> None:
    """A file cut short or zeroed is not a version."""
    (tmp_path / "settings").write_bytes(damage(versions[1]))  # type: ignore[operator]
    with pytest.raises(PromiseBroken, match="not a version that was written") as caught:
        Replace().recover(tmp_path)
    assert caught.value.verdict == "corrupt"
