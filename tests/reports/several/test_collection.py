"""A directory of reports: whose it is, and what it remembers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crashmatrix.reports import ReportError
from crashmatrix.reports.several.collection import Collection
from crashmatrix.reports.several.targets import TARGETS, Targets


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    """A folder of others, a link and a running run are refused, and left as they are."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text("mine")
    with pytest.raises(ReportError, match=r"other holds something else \(index.html\)"):
        Collection(tmp_path / "other", TARGETS)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["index.html"]
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(ReportError, match="is a symbolic link"):
        Collection(tmp_path / "link", TARGETS)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ReportError, match="name another directory"):
        Collection(tmp_path / "file", TARGETS)
    first = Collection(tmp_path / "all", TARGETS)
    with pytest.raises(ReportError, match="another run is writing there"):
        Collection(tmp_path / "all", TARGETS)
    first.close()
    Collection(tmp_path / "all", TARGETS).close()


def test_what_is_remembered(tmp_path: Path) -> None:
    """Nothing yet, then what was saved; a damaged file is named."""
    collection = Collection(tmp_path / "all", TARGETS)
    assert collection.load(Targets) is None
    targets = Targets.named(["a", "\udcff"])
    collection.save(targets)
    assert collection.load(Targets) == targets
    (tmp_path / "all" / TARGETS).write_text(json.dumps({"runs": [{"target": 7, "report": "x"}]}))
    with pytest.raises(ReportError, match=r"targets\.json: runs.*target: expected a string"):
        collection.load(Targets)
    collection.close()
