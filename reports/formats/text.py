"""Make text from the system under test harmless to show: names and values may hold anything."""

from __future__ import annotations

__all__ = ["counted", "shortened", "visible"]


def counted(number: int, what: str) -> str:
    """Return a number of things: "1 item", "1,000 items"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def visible(text: str) -> str:
    """Return text with escapes for each character that is not printable: ``\\\\x1b``, ``\\\\u202e``.

    These are control characters, marks that change the direction of writing, and lone surrogates. Line ends stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, length_max: int) -> str:
    """Return at most so many characters of a text, and how many there are more."""
    if len(text) <= length_max:
        return text
    return f"{text[:length_max]}… ({counted(len(text) - length_max, 'character')} more)"
