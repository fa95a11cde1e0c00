"""`summary.md`: the verdict first, nothing that is not so, and never more than GitHub takes."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt

from crashmatrix.reports import RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.findings import group
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
        "- `corruption`: this version has no such experiment",
        "### loses: no flush of directory `wal/t` between rename and acknowledgement",
        "24 scenarios of `power`, at `ext4~mixed~3` (24).",
        "- `wal/t/8-.arrows, bytes 512 to 1,023`",
        "\n\nItem 7 was acknowledged at 127. The power failed right after, at 128.\n\n",
        "\n\nThe rename of `7-.arrows` to `7-7.arrows` had not reached the disk. Recovery returned 1 to 6; it owed 7.\n\n",
        "Suggestion: fsync the directory `wal/t` after the rename. Tried: with it the promise holds.",
        "crashmatrix replay 'power:ext4~mixed~3:60-1' --report out",
        "- `kill`: `88` distinct states judged, crashes in recovery up to 2 deep",
        "`kernel` `6.12.1`",
        "| `wal.retire.after_unlink` | 51 |  | 9 |",
    ):
        assert part in text


def broken(findings: int, length: int) -> tuple[RunSummary, list[ScenarioResult]]:
    words = [f"{chr(97 + n // 676)}{chr(97 + n // 26 % 26)}{chr(97 + n % 26)}" for n in range(findings)]
    results = [result(f"p.{word}", verdict=Verdict.LOSES, explanation=f"{word} {'x' * length}") for word in words]
    return summary(results), results


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("findings", "length"),
    [
        (17_000, 1),
        (1, 1_200_000),
        pytest.param(1, 5_000_000, marks=pytest.mark.slow),
        pytest.param(3000, 1_900, marks=pytest.mark.slow),
    ],
)
def test_fits(findings: int, length: int) -> None:
    """GitHub accepts the summary, whatever was found; the summary counts the parts that it leaves out."""
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


@pytest.mark.parametrize(
    ("text", "paragraph"),
    [
        ("The disk wasn't flushed.", "The disk wasn't flushed."),
        ("a power-cut at 1,234 (of 12): lost!", "a power-cut at 1,234 (of 12): lost!"),
        ("wal/t/8-.arrows, bytes 0 to 4,095", "`wal/t/8-.arrows`, bytes 0 to 4,095"),
        ("1. no list", "`1`. no list"),
        ("- no list", "`-` no list"),
        ("# no head, see #12 and GH-12", "`#` no head, see `#12` and `GH-12`"),
        ("@all: *this* _is_ [a](b) <b>", "`@all: *this* _is_ [a](b) <b>`"),
        ("see https://x.org/a, www.x.org or me@x.org.", "see `https://x.org/a, www.x.org` or `me@x.org`."),
        ("a | b || c", "a `|` b `||` c"),
        (":boom: &lt; ~~x~~ a`b", "``:boom: &lt; ~~x~~ a`b``"),
        ("\x1b[31m red", r"`\x1b[31m` red"),
        ("first\n  File x", "```text\nfirst\n  File x\n```"),
    ],
)
def test_explanations_are_prose(text: str, paragraph: str) -> None:
    """Sentences are prose, with code where a word could be anything else; what has lines keeps them."""
    lost = result(verdict=Verdict.LOSES, cause="why")
    finding = group([lost])[0].finding
    shown = render(summary([lost], findings=[replace(finding, explanation=(text,))]), [lost])
    assert f"\n\n{paragraph}\n\nAgain:" in shown


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab1 .,-_*#@[]()<>!`~|\\&;:/'\"+=", max_size=30))
def test_prose_is_text(text: str) -> None:
    """Any sentence becomes one paragraph of text and code, and reads as before."""
    lost = result(verdict=Verdict.LOSES, cause="why")
    finding = replace(group([lost])[0].finding, explanation=(f"x {text}",))
    paragraph = (
        render(summary([lost], findings=[finding]), [lost])
        .split(".append.before_sync` (1).\n\n")[1]
        .split("\n\nAgain:")[0]
    )
    (block,) = [
        token for token in MarkdownIt("gfm-like", {"linkify": False}).parse(paragraph) if token.type == "inline"
    ]
    assert {token.type for token in block.children or []} <= {"text", "code_inline"}
    read = "".join(token.content for token in block.children or [])
    assert read.split() == f"x {text}".split()
