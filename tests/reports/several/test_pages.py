"""The verdicts of several targets are read as they were written, and shown in pages."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from crashmatrix.reports import ReportError
from crashmatrix.reports.several.collection import Collection
from crashmatrix.reports.several.pages import read_targets, write_targets
from crashmatrix.reports.several.targets import TARGETS, TargetRun, Targets
from tests.reports.samples import line_of, result, summary


class Links(HTMLParser):
    """The links of a page, with their texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str | None, str]] = []
        self._in_link: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_link = dict(attrs).get("href") if tag == "a" else None

    def handle_data(self, data: str) -> None:
        if self._in_link:
            self.found.append((self._in_link, data))
            self._in_link = None


def test_pages(tmp_path: Path) -> None:
    """The file is read as it was written; the pages link to each report that there is, and no name is markup."""
    fine = [result()]
    run = line_of("fine", summary(fine), fine)
    hostile = TargetRun(target="<b>|`x`", report="b", headline="not run: <script>")
    targets = Targets(runs=[run, hostile])
    collection = Collection(tmp_path / "all", TARGETS)
    write_targets(targets, collection)
    collection.close()
    assert read_targets(tmp_path / "all") == targets
    page = (tmp_path / "all" / "index.html").read_text()
    assert Links(page).found == [("fine/index.html", "fine")]
    assert "<script>" not in page
    assert "&lt;b&gt;" in page
    lines = (tmp_path / "all" / "summary.md").read_text().splitlines()
    assert lines[0] == "# ❔ unknown: 1 of 2 targets, safe: 1"
    assert lines[4] == "| `fine` | ✅ safe | 1 | 0 | 2.5 s | `fine/summary.md` |"
    assert lines[5].startswith(r"| `` <b>\|`x` `` | ❔ unknown | 0 | 0 |")


def test_no_targets(tmp_path: Path) -> None:
    """A directory without the file holds no targets; a damaged one is named."""
    assert read_targets(tmp_path) is None
    assert read_targets(tmp_path / "nowhere") is None
    (tmp_path / TARGETS).write_text('{"runs": 7}')
    with pytest.raises(ReportError, match=r"targets\.json: runs: expected an array"):
        read_targets(tmp_path)
