"""A second life: a system that recovered from a crash goes on, stores more, and is started anew, or crashes again.

A log that appends behind a torn record, an id given out twice, a file of the first crash that is in the way later: a recovery
returns the right items, and only the life after it loses some. From the moment of recovery, the items that it returned are
owed like those that were there from the start, and the second life's journal says what is owed since. So a crash in a second
life leaves a state like any other, with promises of its own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.patience import RESUMED_TIMES
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.processes.result import JobResult, Raised, TimedOut
from crashmatrix.scenarios.processes.sandbox.view import without_paths
from crashmatrix.scenarios.target import contract as contracts
from crashmatrix.scenarios.target.contract import Contract, Violation
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = [
    "CAUSE",
    "Recovered",
    "failed_check",
    "failed_resumption",
    "is_about",
    "named",
    "nothing_stored",
    "stored_again",
    "varied",
]

T = TypeVar("T")

CAUSE = (
    "the system does not go on rightly from what recovery left",
    "The recovery after the first crash returned what was owed; the life after it did not keep that, or what it stored itself.",
)
"""Why a promise broken after a second life is broken: in one line, and in a sentence more."""

_AFTER = "after it was resumed"
_ABOUT = re.compile(rf"(?:^|: )(?:{_AFTER}|when it was resumed|it could not be resumed|resume attempted)\b")
_STILL_RUNNING = "resume was still running at its time limit"
_SHOWN = 5


@dataclass(frozen=True)
class Recovered:
    """The result of a recovery: the folder that it led to, and the items that it returned."""

    tree: Tree
    items: tuple[Item, ...]

    @cached_property
    def key(self) -> tuple[str, str]:
        """Equal for equal folders and items, and so for equal second lives."""
        return self.tree.digest, "\n".join(map(item_key, self.items))

    def promises(self, journal: bytes) -> Promises:
        """Return the promises of a second life. Raises UsageError: the journal makes no sense."""
        return Promises.parse(journal, self.items)


def varied(kinds: Mapping[T, Sequence[str]], room: int, seed: str, seen: Iterable[Sequence[str]] = ()) -> list[T]:
    """Choose at most ``room``, each as unlike those chosen before it as there still is; which of several equals, is drawn.

    Args:
        kinds: what tells each from the others; what counts most comes first.
        seen: kinds that were chosen before.
    """
    left = [*kinds]
    random.Random(seed).shuffle(left)
    known = {(*kind[:length],) for kind in seen for length in range(1, len(kind) + 1)}
    chosen: dict[T, None] = {}
    for length in range(1, max(map(len, kinds.values()), default=0) + 1):
        for each in left:
            kind = kinds[each]
            if each not in chosen and (*kind[:length],) not in known:
                chosen[each] = None
                known |= {(*kind[:part],) for part in range(1, len(kind) + 1)}
    return [*chosen, *(each for each in left if each not in chosen)][:room]


def failed_resumption(result: JobResult[object], root: Path, seconds_max: float) -> Violation:
    """Return the verdict of a `resume` that did not return, in the folder ``root``; ``seconds_max`` is its whole limit."""
    verdict, text = _failure(result, seconds_max)
    return Violation(verdict, without_paths(text, root))


def _failure(result: JobResult[object], seconds_max: float) -> tuple[Verdict, str]:
    match result:
        case TimedOut():
            return Verdict.HANGS, f"when it was resumed: {_still_running(seconds_max)}"
        case Raised(claim=(verdict, explanation)):
            return verdict, f"when it was resumed: {explanation}"
        case Raised() as raised if raised.is_a(UsageError):
            return Verdict.UNKNOWN, f"when it was resumed: {raised.message}"
        case _:
            return Verdict.CANNOT_OPEN, f"it could not be resumed after recovery: resume {result}"


def _still_running(seconds_max: float) -> str:
    most = f"{seconds_max:g} s, {RESUMED_TIMES} times seconds_max"
    return f"{_STILL_RUNNING} ({most}, or less once one has hung for all of it)"


def failed_check(verdict: Verdict, text: str, seconds_max: float) -> Violation:
    """Return the verdict of a `resume` that did not return, from the words of `forked_check`."""
    if verdict is Verdict.CANNOT_OPEN and text.startswith("resume "):
        return Violation(verdict, f"it could not be resumed after recovery: {text}")
    return Violation(verdict, f"when it was resumed: {_still_running(seconds_max) if text == _STILL_RUNNING else text}")


def stored_again(contract: Contract, promises: Promises) -> str:
    """Return why a second life says nothing: it attempted items that recovery had returned; empty if it says something."""
    if not (again := contracts.stored_again(contract, promises)):
        return ""
    return (
        f"resume attempted what recovery had returned before: {', '.join(again[:_SHOWN])}; store new items, "
        "journal.recovered (for a command, the file $CRASHMATRIX_RECOVERED) has those that are there. A client that sends its "
        "requests again: see 'Retries' in docs/contracts.md"
    )


def nothing_stored(attempts: int = 0) -> str:
    """Return why second lives without an acknowledgement say nothing; ``attempts`` is how many items they attempted, if known."""
    done = "attempted items and acknowledged none" if attempts else "acknowledged nothing"
    return (
        f"resume {done} after any crash, so there is no promise of a second life that could be broken: store new items, and "
        "acknowledge each once the system has called it durable"
    )


def named(explanation: str, promises: Promises, items: Sequence[Item] | None) -> str:
    """The explanation of what was wrong after a second life, with what was owed and what came back, if anything did."""
    if items is None:
        return f"{_AFTER}: {explanation}"
    since = sum(event.kind == "ack" for event in promises.events)
    return (
        f"{_AFTER}: {explanation}. Items there when it was resumed: {len(promises.initial)}; acknowledged since: {since}; "
        f"came back: {len(items)}"
    )


def is_about(explanation: str) -> bool:
    """Whether a verdict's explanation is about a second life."""
    return bool(_ABOUT.search(explanation))
