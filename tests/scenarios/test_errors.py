"""A system may claim that a promise is broken, and nothing better; whatever its words are, they can be shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import PromiseBroken, claimed, text_of


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("loses", Verdict.LOSES),
        ("cannot-open", Verdict.CANNOT_OPEN),
        (Verdict.CORRUPT, Verdict.CORRUPT),
        (Text("loses"), Verdict.LOSES),
        ("unknown", Verdict.UNKNOWN),
        ("safe", Verdict.UNKNOWN),
        (Verdict.SAFE, Verdict.UNKNOWN),
        ("Loses", Verdict.UNKNOWN),
        ("", Verdict.UNKNOWN),
        (None, Verdict.UNKNOWN),
        (0, Verdict.UNKNOWN),
        (["safe"], Verdict.UNKNOWN),
        (Unprintable(), Verdict.UNKNOWN),
    ],
)
def test_claims(claim: Any, verdict: Verdict) -> None:
    """Only a verdict that names a broken promise is taken over; anything else is unknown, and says why."""
    found, text = claimed(claim, "row 7")
    assert found is verdict
    assert text.startswith("row 7")
    assert ("it claims the verdict" in text) == (claim != "unknown" and verdict is Verdict.UNKNOWN)
    assert PromiseBroken(claim, "row 7").verdict is verdict


def test_long_items() -> None:
    """A long word, or a long text in JSON, keeps its beginning, its end and its length; what comes after it is kept, too."""
    blob, prose = f"{'x' * 5000}last", json.dumps("some words " * 1000 + "and the last")
    for long in (blob, prose):
        _, text = claimed("loses", f"key k came back as {long} and not as 7")
        assert text.startswith(f"key k came back as {long[:100]}")
        assert text.endswith(" and not as 7")
        assert f"({len(long):,} characters)" in text
        assert long[-20:] in text
        assert len(text) < 300
    assert claimed("loses", "7 words, none of them is long " * 9)[1] == "7 words, none of them is long " * 9


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        ("plain", "plain"),
        (7, "7"),
        (ValueError("x"), "x"),
        (Unprintable(), "(its text cannot be shown: RuntimeError)"),
        ("\udcff", "\\udcff"),
        ("x" * 10_000, "x" * 4000),
    ],
)
def test_text_of_anything(thing: object, text: str) -> None:
    """The text of any exception is short, and UTF-8 can hold it."""
    assert text_of(thing) == text
    text_of(thing).encode()


def test_an_interrupt_is_not_swallowed() -> None:
    """Ctrl-C while a text is made ends the run."""

    class Interrupts:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        text_of(Interrupts())
