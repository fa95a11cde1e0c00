"""The interface of contracts: pure functions from promises and recovered items to violations.

Checks come in two layers, as in etcd's robustness tests: first the journal must make sense (an acknowledgement without an
attempt of its own says that the workload is wrong, not the system), then the guarantee is judged.

An item may be attempted more than once. An attempt that was not acknowledged may have taken effect or not, whether the journal
says that it failed or says nothing. Attempts of equal items are independent of each other: so an item that failed, and was then
acknowledged, may be there twice. Where the items say which request they are (``retries``), equal items are one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError, claimed, text_of
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["BEFORE_ANY_CRASH", "Contract", "OfItems", "Violation", "attempted_again", "is_ours", "judge_safely", "some"]

BEFORE_ANY_CRASH = "before any crash: "
"""The beginning of an explanation of what the workload itself saw, in the living system."""

_SHOWN_MAX = 5
_OURS = f"{__name__.partition('.')[0]}."


@dataclass(frozen=True)
class Violation:
    """One broken promise. ``living``: the workload itself saw it, before any crash, and noted it in the journal."""

    verdict: Verdict
    explanation: str
    living: bool = False


class Contract(ABC):
    """The promise of a system. Subclass it to promise something else.

    Attributes:
        stored_once: whether the items that recovery returns are those attempted, each stored once.
    """

    stored_once: ClassVar[bool] = False

    def judge(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Return every violation; none means the promise was kept.

        Raises:
            UsageError: the journal or the recovered items make no sense; the verdict is then ``unknown``.
        """
        self.validate(promises)
        return self.check(promises, recovered)

    def validate(self, promises: Promises) -> None:
        """Refuse a journal that no correct workload writes: an attempt that ends twice, or one that never began."""
        open_attempts: Counter[tuple[str, str]] = Counter()
        for event in promises.events:
            key = item_key(event.item)
            open_attempts[event.writer, key] += 1 if event.kind == "attempt" else -1
            if open_attempts[event.writer, key] < 0:
                done = "failed with" if event.kind == "fail" else "acknowledged"
                raise UsageError(f"the workload {done} {key} without attempting it, or twice; fix the workload")

    def lasts(self, first: Sequence[Item], again: Sequence[Item]) -> bool:
        """Whether a second recovery kept what the first one had returned: by default the same items, in any order.

        Each of them has kept the promise of the crash.
        """
        return Counter(map(item_key, first)) == Counter(map(item_key, again))

    def stored_again(self, promises: Promises) -> list[str]:
        """Return the items by which a second life says nothing: recovery had returned them, and it may mean the same ones."""
        del promises  # By default, to store an equal item is to store another one.
        return []

    @abstractmethod
    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""


@dataclass(eq=False)
class OfItems(Contract):
    """A contract by which each item is stored once, and its equal is another one, unless the items are requests."""

    stored_once: ClassVar[bool] = True
    retries: bool = False
    """Whether an item that is attempted again is the same one."""

    def stored_again(self, promises: Promises) -> list[str]:
        """Return what a second life attempted though recovery had returned it, unless it is a retry."""
        return [] if self.retries else attempted_again(promises)


def judge_safely(contract: Contract, promises: Promises, recovered: Sequence[Item]) -> Violation | None:
    """Return the worst violation, None if the promise was kept; a check that cannot be made is ``unknown``, never safe."""
    try:
        # A contract of a user may change what it is given.
        violations = contract.judge(promises, recovered if is_ours(contract) else deepcopy(list(recovered)))
        claims = _claims(violations)
    except UsageError as error:
        return Violation(Verdict.UNKNOWN, text_of(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # An exit is a way to fail, too.
        return Violation(Verdict.UNKNOWN, f"the contract's check raised {type(error).__name__}: {text_of(error)}")
    order = list(Verdict)
    return max(claims, key=lambda violation: order.index(violation.verdict), default=None)


def _claims(violations: object) -> list[Violation]:
    """Return what a check returned as plain violations, none of them safe. Raises UsageError if they are something else."""
    if not isinstance(violations, list | tuple | Iterator):
        raise UsageError(f"the contract's check must return a list of Violation, not a {type(violations).__name__}")
    found = list(violations)
    for violation in found:
        if not isinstance(violation, Violation):
            raise UsageError(
                f"the contract's check must return a list of Violation, and one is a {type(violation).__name__}"
            )
    return [
        Violation(*claimed(violation.verdict, violation.explanation), living=violation.living is True)
        for violation in found
    ]


def is_ours(contract: Contract) -> bool:
    """Whether its check is part of crashmatrix, and needs no process of its own: it ends, and changes nothing it is given."""
    return type(contract).__module__.startswith(_OURS)


def attempted_again(promises: Promises) -> list[str]:
    """Return the items that were there from the start and were attempted."""
    there = {item_key(item) for item in promises.initial}
    return [key for event in promises.events if event.kind == "attempt" and (key := item_key(event.item)) in there]


def some(keys: Sequence[str]) -> str:
    """Return the first few of several texts, and how many more there are."""
    more = f" and {len(keys) - _SHOWN_MAX} more" if len(keys) > _SHOWN_MAX else ""
    return ", ".join(keys[:_SHOWN_MAX]) + more
