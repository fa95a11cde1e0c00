"""Parts of a run, for several machines: ``--shard 2/4`` runs the second quarter of the plan.

Every shard makes the same plan from the same seed and takes its own part, so that the parts are disjoint and cover the plan
without communicating. A shard's verdict covers its part; `crashmatrix.reports.merge` makes the verdict on the whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from crashmatrix.scenarios.errors import UsageError

__all__ = ["WHOLE", "Shard", "plan_digest"]

T = TypeVar("T")

_DIGITS_MAX = 6


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``of`` parts, from 1."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``. Raises UsageError."""
        number, slash, of = text.partition("/")
        digits = slash and number.isdecimal() and of.isdecimal() and len(number) <= len(of) <= _DIGITS_MAX
        if not (digits and 1 <= int(number) <= int(of)):
            raise UsageError(f"no shard {text!r}; write --shard I/N, with I from 1 to N, 999999 at most")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        """``I/N``; empty for a run that is not split."""
        return f"{self.number}/{self.of}" if self.of > 1 else ""

    def block(self, items: Sequence[T]) -> list[T]:
        """Return this shard's share as one block of neighbours, for items whose neighbours share work."""
        start, end = (len(items) * part // self.of for part in (self.number - 1, self.number))
        return list(items[start:end])

    def deal(self, items: Sequence[T]) -> list[T]:
        """Return every ``of``-th item, for few and large items."""
        return list(items[self.number - 1 :: self.of])

    def share(self, budget: int) -> int:
        """Return this shard's part of a number that all shards share, at least 1."""
        return -(-budget // self.of)


WHOLE = Shard()
"""A run that is not split."""


def plan_digest(items: Iterable[object]) -> str:
    """Return a digest of a plan. It must be equal in all shards of a run; otherwise their parts do not add up."""
    return hashlib.sha256("\n".join(map(str, items)).encode()).hexdigest()[:16]
