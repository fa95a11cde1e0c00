"""Findings: scenarios with one cause are one finding, others are separate, and the same in every run."""

from dataclasses import replace
from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.reports.findings import better, finding_id, finding_ids, group, normalised
from tests.reports.samples import found, result

LOST = "acknowledged, but gone: "


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"{LOST}3 (of 4 acknowledged)", f"{LOST}11 (of 12 acknowledged)"),
        (f"{LOST}3 (of 4 acknowledged)", f"{LOST}3, 4, 5 and 12 more (of 20 acknowledged)"),
        (f'{LOST}["a", 3] (of 4 acknowledged)', f'{LOST}["b", [1, -2.5]], ["c", 3] (of 4 acknowledged)'),
        ('key "k1" came back as 3', 'key "k \\" 2" came back as {"a": 1}'),
        ("FileNotFoundError: 'ROOT/7-.arrows'", "FileNotFoundError: 'ROOT/8-8.arrows'"),
        ("part 1f2e3d4c-aaaa-4bbb is short", "part 00ff00ff-0000-4000 is short"),
        ("line 3, in recover", "line 41, in recover"),
        ("tmp0qpowh5k is empty", "tmpveb_spgx is empty"),
        ("3 came back, though 4 was acknowledged (by a)", "1 came back, though 2 was acknowledged (by Task-4)"),
        ("gone: 1 (by a), 2 (by Thread-4-(client))", "gone: 3"),
    ],
)
def test_the_same_but_for_values(one: str, other: str) -> None:
    """Explanations that differ in numbers, items, digests, and names of files and writers only are the same."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"{LOST}3", f"{LOST}3, though 4, acknowledged later, came back"),
        ("recovery raised KeyError: 'a'", "recovery raised ValueError: 'a'"),
        ("the segment is damaged", "the decade is damaged"),
        ("don't open, it's torn", "don't close, it's torn"),
    ],
)
def test_different_in_kind(one: str, other: str) -> None:
    """Explanations that say different things stay apart."""
    assert normalised(one) != normalised(other)


def test_hundreds_are_one() -> None:
    """Hundreds of scenarios with one cause are one finding that counts them, with the simplest as its example."""
    deep = result(hit=1, depth=2, verdict=Verdict.LOSES, explanation=f"{LOST}1")
    many = [result(hit=n, verdict=Verdict.LOSES, explanation=f"{LOST}{n}") for n in range(2, 302)]
    (one,) = group([deep, result(hit=999), *many])
    assert one.finding.count == 301
    assert one.finding.example == many[0].id
    assert one.finding.explanation == (f"{LOST}2",)
    assert one.points == {"wal.append.before_sync": 301}


def test_kept_apart() -> None:
    """Another experiment, verdict or known cause is another finding; the cause counts more than the words."""
    base = result(verdict=Verdict.LOSES, explanation="gone")
    others = [
        replace(base, experiment="power"),
        replace(base, verdict=Verdict.HOLE),
        replace(base, cause="no flush of the directory"),
        replace(base, cause="no flush of the directory", explanation="away"),
    ]
    assert len({finding_id(one) for one in [base, *others]}) == 4
    assert finding_id(others[2]) == finding_id(others[3])


def test_shown_to_be_one() -> None:
    """A kind that was shown to be another one is counted with it, and is not a finding of its own."""
    here = [result(hit=n, verdict=Verdict.LOSES, explanation="gone") for n in (1, 2)]
    again = result(hit=3, verdict=Verdict.LOSES, explanation="after a restart: gone")
    known = replace(group(here)[0].finding, cause="no fsync", also=(finding_id(again),))
    (one,) = group([again, *here], [known])
    assert (one.finding.id, one.finding.count, one.finding.cause) == (finding_id(here[0]), 3, "no fsync")
    assert len(group([again, *here], [replace(known, also=())])) == 2
    assert finding_ids([known]) == {finding_id(again): known.id}


def test_order() -> None:
    """Worst verdict first, then the most frequent; `safe` is not a finding."""
    results = [
        result(verdict=Verdict.UNKNOWN, explanation="?"),
        result(verdict=Verdict.LOSES, explanation="rare"),
        *[result(hit=n, verdict=Verdict.LOSES, explanation="frequent") for n in (1, 2)],
        result(verdict=Verdict.CORRUPT, explanation="bad"),
        result(),
    ]
    assert [(one.finding.verdict.value, one.finding.count) for one in group(results)] == [
        ("corrupt", 1), ("loses", 2), ("loses", 1), ("unknown", 1),
    ]  # fmt: skip


def test_explained_findings_replace_plain_ones() -> None:
    """An explained finding replaces the plain one with the same cause, and keeps the count of the results."""
    run, results = found()
    first = group(results, run.findings)[0].finding
    assert first == replace(run.findings[0], count=24)
    assert group(results)[0].finding.explanation != first.explanation


@pytest.mark.parametrize("turn", [1, -1])
def test_the_explained_example_is_shown(turn: int) -> None:
    """A kind found twice, on two filesystems say, is shown as the finding that explains more, whichever came first."""
    run, results = found()
    explained = run.findings[0]
    bare = replace(
        explained, example="power:posix~0:1-1", explanation=(), lost=(), suggestion="", tested=None, timeline=()
    )
    first = group(results, [explained, bare][::turn])[0].finding
    assert (first.example, first.explanation, first.tested) == (explained.example, explained.explanation, True)
    assert first.count == 24


@pytest.mark.parametrize(
    ("worse", "best"),
    [
        ({"explanation": ("a", "b"), "tested": False}, {"explanation": (), "tested": True}),
        ({"explanation": ("a", "b", "c"), "timeline": ()}, {"explanation": ("a",)}),
        ({"explanation": ("a",), "tested": None}, {"explanation": ("a", "b"), "tested": False}),
    ],
)
def test_better(worse: dict[str, Any], best: dict[str, Any]) -> None:
    """A remedy that helped counts most, then a timeline, then how much is said; of equals the first stays."""
    finding = replace(found()[0].findings[0], tested=None)
    one, other = replace(finding, **worse), replace(finding, **best)
    assert better(one, other) == better(other, one) == other
    assert better(other, replace(other, example="elsewhere")) == other


def test_ids_do_not_change() -> None:
    """A finding's id is the same in every run and version: reports of different days are compared by it."""
    assert finding_id(result(verdict=Verdict.LOSES, explanation=f"{LOST}3 (of 4)")) == "kill-loses-e355cac4"
