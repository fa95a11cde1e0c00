"""Text from outside, made harmless: what would not show, or would do something, shows as an escape."""

import pytest
from hypothesis import given, settings, strategies as st

from crashmatrix.reports.formats.text import counted, shortened, visible


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain é 日本 😀", "plain é 日本 😀"),
        ("two\nlines", "two\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x00\t\r\x7f", r"\x00\t\r\x7f"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\udcff", r"\udcff"),
        ("\u200b\ufeff", r"\u200b\ufeff"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_visible(text: str, expected: str) -> None:
    """Printable text and line ends stay; all else becomes an escape."""
    assert visible(text) == expected


@pytest.mark.lengthy
@settings(deadline=None, max_examples=200)
@given(st.text())
def test_visible_is_printable(text: str) -> None:
    """Any text becomes one that can be printed and encoded, and that a second call does not change."""
    shown = visible(text)
    assert all(character.isprintable() or character == "\n" for character in shown)
    shown.encode()
    assert visible(shown) == shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("12345", "12345"),
        ("123456", "12345… (1 character more)"),
        ("x" * 2_005, "xxxxx… (2,000 characters more)"),
    ],
)
def test_shortened(text: str, expected: str) -> None:
    """A long text says how much of it is left out."""
    assert shortened(text, 5) == expected


@pytest.mark.parametrize(("number", "words"), [(0, "0 items"), (1, "1 item"), (2, "2 items"), (1000, "1,000 items")])
def test_counted(number: int, words: str) -> None:
    """One thing is singular, any other number plural."""
    assert counted(number, "item") == words
