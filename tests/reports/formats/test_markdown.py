"""`summary.md`: the verdict first, nothing that is not so, and never more than GitHub takes."""

import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from crashmatrix.reports import RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.formats.markdown import SIZE_BYTES_MAX, render
from tests.reports.samples import found, hostile, result, summary

GITHUB_BYTES_MAX = 2**20


@pytest.mark.parametrize(
    ("results", "other", "head"),
    [
        ([result()], {}, "# ✅ `reference`: safe"),
        ([result(verdict=Verdict.LOSES)], {}, "# ❌ `reference`: loses"),
        ([result(verdict=Verdict.UNKNOWN)], {}, "# ❔ `reference`: unknown"),
        ([result()], {"interrupted": True}, "# ❔ `reference`: unknown"),
        ([result()], {"missing_shards": ["2/2"]}, "# ❔ `reference`: unknown"),
        ([], {}, "# ❔ `reference`: unknown"),
    ],
)
def test_verdict_first(results: list[ScenarioResult], other: dict[str, Any], head: str) -> None:
    """The first line is the verdict."""
    assert render(summary(results, **other), results).splitlines()[0] == head


def test_everything_is_there() -> None:
    """Counts, what was not run and why, findings with cause, suggestion and replay command, coverage, versions."""
    text = render(*found())
    for part in (
        "1,320 scenarios in 25.0 s, seed 3",
        "| `kill` | ❌ loses | 600 | 590 safe, 1 unknown, 9 loses | 12.5 s |",
        "- `corruption`: `this version has no such experiment`",
        "### loses: `no flush of directory wal/t between rename and acknowledgement`",
        "24 scenarios of `power`, at `ext4~mixed~3` (24).",
        "- `wal/t/8-.arrows, bytes 512 to 1,023`",
        "Suggestion: `fsync the directory wal/t after the rename.` Tried: with it the promise holds.",
        "crashmatrix replay 'power:ext4~mixed~3:60-1' --report out",
        "- `kill`: `88 distinct states judged, crashes in recovery up to 2 deep`",
        "`kernel` `6.12.1`",
        "| `wal.retire.after_unlink` | 51 |  | 9 |",
    ):
        assert part in text


def broken(findings: int, length: int) -> tuple[RunSummary, list[ScenarioResult]]:
    words = [f"{chr(97 + n // 676)}{chr(97 + n // 26 % 26)}{chr(97 + n % 26)}" for n in range(findings)]
    results = [result(f"p.{word}", verdict=Verdict.LOSES, explanation=f"{word} {'x' * length}") for word in words]
    return summary(results), results


@pytest.mark.parametrize(("findings", "length"), [(3000, 1_900), (1, 5_000_000), (17_000, 1)])
def test_fits(findings: int, length: int) -> None:
    """Whatever was found, GitHub takes the summary; what was left out is counted in it."""
    text = render(*broken(findings, length))
    assert len(text.encode()) <= SIZE_BYTES_MAX < GITHUB_BYTES_MAX
    assert text.startswith("# ❌ `reference`: loses")
    shown = text.count("\n### ")
    left = re.search(r"no room here: ([\d,]+) of ([\d,]+) findings", text)
    assert (int(left[1].replace(",", "")) if left else 0) == findings - shown
    assert ("characters more" in text) is (length > 2_000)


def test_hostile_names_are_text() -> None:
    """Names that hold markup, links or mentions are code in the page, and nothing else."""
    page = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(render(*hostile()))
    assert "<img" not in page and "<script" not in page and "<a " not in page
    without_code = re.sub(r"<code[^>]*>.*?</code>", "", page, flags=re.DOTALL)
    assert "onerror" not in without_code
    assert "@everyone" not in without_code
    assert page.count("<table>") == 2
    assert all(character.isprintable() or character == "\n" for character in page)
