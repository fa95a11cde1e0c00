"""Contents that are equal but for what varies: which bytes or words differ between runs that nothing disturbed.

    text, with as many words in each      a word may differ where the word differs between undisturbed runs
    other bytes, all of one length        a byte may differ near where bytes differ between undisturbed runs
    lengths or numbers of words vary      anything between the beginning and the end that all undisturbed runs share

A few bytes around those seen to vary vary, too: a random number has some byte in common with the next one. So ranges are
widened to whole words of `_WORD` bytes, and joined across gaps of `_GAP`.

A log defeats this: a word with few values may be the same in a handful of runs, and another one in the next. So may memory that a
program writes without having set it. Such contents still have one form (`of_one_form`): text has as many lines, other bytes are
as many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import AnyStr

__all__ = ["alike", "of_one_form", "shared_start"]

_TOKEN = re.compile(rb"\w+")
_WORD, _GAP = 4, 8
_TEXT_BYTES_MAX = 1 << 20

Ranges = list[tuple[int, int]]


def alike(left: bytes, shown: bytes, others: Sequence[bytes]) -> bool:
    """Whether a content equals the one shown but for what varies between that one and the others."""
    if left == shown:
        return True
    if all(other == shown for other in others):
        return False
    if _is_text(shown):
        texts = [_TOKEN.split(content) for content in (shown, *others)]
        if len(set(map(tuple, texts))) == 1:  # The same but for words.
            return _TOKEN.split(left) == texts[0] and _same_words(left, shown, others)
    if len({len(content) for content in (shown, *others)}) == 1:
        return len(left) == len(shown) and _within(_differing(left, shown), _varying(shown, others))
    return _same_ends(left, shown, others)


def of_one_form(left: bytes, shown: bytes, others: Sequence[bytes]) -> bool:
    """Whether contents vary, and one more is of the form of all of them; if that varies, too, nearly so."""
    contents = [shown, *others]
    if all(other == shown for other in others) or (_is_text(shown) and not _is_text(left)):
        return left == shown
    sizes = [content.count(b"\n") if _is_text(shown) else len(content) for content in (left, *contents)]
    least, most = min(sizes[1:]), max(sizes[1:])
    return least - (most - least) <= sizes[0] <= most + (most - least)


def _is_text(content: bytes) -> bool:
    return b"\0" not in content and len(content) <= _TEXT_BYTES_MAX


def _same_words(left: bytes, shown: bytes, others: Sequence[bytes]) -> bool:
    varying = [_TOKEN.findall(other) for other in others]
    words = zip(_TOKEN.findall(left), _TOKEN.findall(shown), strict=True)
    return all(mine == word or any(other[at] != word for other in varying) for at, (mine, word) in enumerate(words))


def _differing(one: bytes, other: bytes) -> Ranges:
    """The ranges of bytes in which two contents of one length differ."""
    mixed = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return [found.span() for found in re.finditer(rb"[^\0]+", mixed.to_bytes(len(one), "big"))]


def _varying(shown: bytes, others: Sequence[bytes]) -> Ranges:
    """The ranges that vary, widened and joined, in order."""
    ranges = sorted(range_ for other in others for range_ in _differing(shown, other))
    joined: Ranges = []
    for start, stop in ranges:
        start, stop = start - start % _WORD, stop + -stop % _WORD
        if joined and start <= joined[-1][1] + _GAP:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return joined


def _within(ranges: Iterable[tuple[int, int]], varying: Ranges) -> bool:
    """Whether each of the ranges lies in one of those that vary."""
    return all(any(start >= first and stop <= last for first, last in varying) for start, stop in ranges)


def _same_ends(left: bytes, shown: bytes, others: Sequence[bytes]) -> bool:
    """Whether it begins and ends as all the others do, but for a few bytes where they begin to differ."""
    contents = [shown, *others]
    shortest = min(map(len, contents))
    before = shared_start(contents)
    after = shared_start([content[::-1] for content in contents])
    before, after = max(0, before - _WORD), max(0, min(after, shortest - before) - _WORD)
    return (
        left[:before] == shown[:before]
        and len(left) >= before + after
        and left[len(left) - after :] == shown[len(shown) - after :]
    )


def shared_start(texts: Sequence[AnyStr]) -> int:
    """How many characters all of them begin with."""
    first, last = min(texts), max(texts)
    differing = (at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return next(differing, len(first))
