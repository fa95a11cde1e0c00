"""The items that the built-in systems store: ``ITEMS`` numbers, each with bytes drawn from the run's seed.

The journal holds the numbers alone, so that explanations stay short; recovery draws the bytes again and compares.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.target.journal import Item

__all__ = ["ITEMS", "LATER", "check_value", "digest_of", "file_sizes", "value_of"]

ITEMS = 30
LATER = range(ITEMS, ITEMS + 5)
"""The items of a second life: none of them was stored before."""

_SMALL_BYTES, _LARGE_BYTES = (40, 300), (5_000, 14_000)
_LARGE_EVERY = 5


def value_of(seed: int, number: int) -> bytes:
    """Return what is stored under a number: mostly less than a page, every fifth several pages."""
    chance = random.Random(f"{seed} value {number}")
    return chance.randbytes(chance.randint(*(_LARGE_BYTES if number % _LARGE_EVERY == 4 else _SMALL_BYTES)))


def check_value(seed: int, number: int, found: bytes) -> None:
    """Compare what came back under a number. Raises PromiseBroken."""
    expected = value_of(seed, number)
    if found != expected:
        same = next((i for i, (a, b) in enumerate(zip(found, expected, strict=False)) if a != b), "its end")
        raise PromiseBroken(
            "corrupt",
            f"item {number} came back with other bytes: {len(found)} of them, not {len(expected)}, wrong from {same}",
        )


def file_sizes(root: Path) -> list[str]:
    """Return each file below ``root`` with its size: what of a folder does not depend on ids drawn at random."""
    return [f"{path.relative_to(root)} {path.stat().st_size}" for path in sorted(root.rglob("*")) if path.is_file()]


def digest_of(names: Iterable[str], items: Sequence[Item]) -> str:
    """Return a fingerprint of a folder, from some names and the items recovered from it."""
    return hashlib.blake2b(f"{list(names)} {items}".encode(), digest_size=12).hexdigest()
