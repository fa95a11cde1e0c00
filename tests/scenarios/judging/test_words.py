"""The sentences that all explanations share."""

from __future__ import annotations

import pytest

from crashmatrix.reports import Event
from crashmatrix.scenarios.judging.words import (
    EVENTS_MAX,
    acknowledged,
    besides_the_contract,
    counted,
    latest,
    noted,
    shown,
)

ACKNOWLEDGED = [
    ([], 0, "Nothing was acknowledged yet; 0 items were attempted."),
    (["attempt 0"], 0, "Nothing was acknowledged yet; 1 item was attempted."),
    (
        ["attempt 0", "attempt 1"],
        1,
        "Nothing was acknowledged yet; 2 items were attempted. 1 item was there from the start.",
    ),
    (["attempt 0", "ack 0"], 0, "Item 0 was acknowledged (journal line 2)."),
    (["attempt 0", "ack 0"], 2, "Item 0 was acknowledged (journal line 2). 2 items were there from the start."),
    (
        ["attempt 0", "ack 0", "attempt 1"],
        0,
        "1 of 2 attempted items was acknowledged, the last one, 0, by journal line 2.",
    ),
    (
        ["attempt 0", "ack 0", "attempt 1", "ack 1", "attempt 2"],
        0,
        "2 of 3 attempted items were acknowledged, the last one, 1, by journal line 4.",
    ),
    (
        ["attempt 0", "attempt 1", "ack 1", "ack 0"],
        0,
        "All 2 attempted items were acknowledged, the last one, 0, by journal line 4.",
    ),
    (
        ["attempt 0", "ack 0", "attempt 1", "fail 1", "attempt 2", "fail 2"],
        0,
        "1 of 3 attempted items was acknowledged, the last one, 0, by journal line 2. 2 attempts failed, the last one that "
        "of 2.",
    ),
]


@pytest.mark.parametrize(("lines", "initial", "text"), ACKNOWLEDGED)
def test_acknowledged(lines: list[str], initial: int, text: str) -> None:
    """How much was acknowledged, with the line that proves it."""
    assert acknowledged(lines, initial) == text


def test_long_texts_are_shortened() -> None:
    """Texts of up to 80 characters are shown whole; longer ones are shortened."""
    assert shown("x" * 80) == "x" * 80
    assert shown("x" * 81) == "x" * 77 + "..."


def test_counted() -> None:
    """A count of one takes the singular; thousands have commas."""
    assert [counted(number, "item") for number in (0, 1, 1000)] == ["0 items", "1 item", "1,000 items"]


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (b"attempt [1, 2]", "attempt", "[1, 2]"),
        ("ack 7", "ack", "7"),
        ("fail 7", "note", "the attempt of 7 failed"),
        (b"half a line \xff", "note", "half a line \N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_journal_line_in_a_timeline(line: str | bytes, kind: str, text: str) -> None:
    assert noted(3, line) == Event(at=3, kind=kind, text=text)


def test_a_timeline_keeps_its_end() -> None:
    events = [Event(at=at, kind="write", text=str(at)) for at in range(EVENTS_MAX + 2)]
    assert latest(events[:EVENTS_MAX]) == events[:EVENTS_MAX]
    first, *rest = latest(events)
    assert rest == events[2:]
    assert (first.at, first.kind, first.text) == (2, "note", "what came before is left out")


def test_what_was_checked_besides_the_contract() -> None:
    """A check that was made nowhere is not mentioned."""
    assert besides_the_contract("", 0) == ""
    assert besides_the_contract("", 1) == "besides the contract: recovery was repeated in 1 recovered folder"
    assert besides_the_contract("2 states", 0) == "besides the contract: the system's own verify passed in 2 states"
