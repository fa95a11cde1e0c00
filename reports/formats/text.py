"""Text that came from the system under test, made harmless to show: names and values may hold anything."""

from __future__ import annotations

__all__ = ["shortened", "visible"]


def visible(text: str) -> str:
    """Return text in which whatever would not show, or would do something, is an escape: ``\\\\x1b``, ``\\\\u202e``.

    That covers control characters, marks that turn the direction of writing, and what no file encoding can hold.
    Line ends stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, length_max: int) -> str:
    """Return at most so many characters of a text, and how many there are more."""
    if len(text) <= length_max:
        return text
    more = len(text) - length_max
    return f"{text[:length_max]}… ({more:,} character{'' if more == 1 else 's'} more)"
