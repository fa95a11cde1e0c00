"""Queues: items are ``["put", X]`` and ``["done", X]``, and recovery returns each X that is still to be consumed.

    put X       adds a job with the payload X
    done X      finishes one job whose payload is X; a job that is finished does not come back

Two jobs may have equal payloads, and nobody can tell which of them came back. So the contract counts: for each payload it
computes the fewest and the most jobs that may be left, and each number in between is possible.

An acknowledged attempt took effect, and another one did or did not. A done finishes a job only if the put had begun before the
done ended: else the one preceded the other. If that holds for several pairs, one order of the attempts allows all of them: each
put takes effect where it begins, each done where it ends. A later end allows all puts that an earlier end allows. So one pass
over these begins and ends finishes as many jobs as possible: it adds one at each put, and takes one away at each done, if any is
there (`_left`).

- The fewest are left if only the acknowledged puts and all of the dones took effect.
- The most are left if all of the puts and only the acknowledged dones did.
- Between these two, let the attempts without an acknowledgement take effect, or not, one after another. Each such step changes
  the number that is left by one at most.

A done finishes a job if any order of the attempts lets it. A done without such a job has no effect: its consumer repeated itself.
Where jobs come several times, the consumer may also repeat the done of a finished job while an equal job waits. All dones may so
be of one job, and then all others are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.target.contracts.base import Contract, Violation, some
from crashmatrix.scenarios.target.contracts.history import Operation, operations
from crashmatrix.scenarios.target.contracts.items import AtLeastOnce
from crashmatrix.scenarios.target.journal import Item, Promises, item_key

__all__ = ["Queue"]


@dataclass(frozen=True)
class Queue(Contract):
    """A queue.

    - X is owed from the acknowledgement of its ``put``: also once a consumer has received it, until its ``done`` is attempted.
    - X must not come back once its ``done``, by which the consumer says that it is finished, was acknowledged.
    - In between it may come back or not.
    """

    lossy: bool = False
    """Whether items that are owed may be gone: at most once."""
    repeats: bool = False
    """Whether an item may come back more often than it was put: at least once."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        """Judge the guarantee itself."""
        jobs = {key: each for key, each in _by_payload(promises).items() if each.puts}
        found = Counter(map(item_key, recovered))
        most = {key: each.most_left(self.repeats) for key, each in jobs.items()}
        violations = []
        if not self.lossy and (lost := [key for key, each in jobs.items() if found[key] < each.fewest_left()]):
            violations.append(Violation(Verdict.LOSES, f"put and acknowledged, not done, but gone: {some(lost)}"))
        if phantom := [key for key in found if key not in jobs]:
            violations.append(Violation(Verdict.PHANTOM, f"came back but was never put: {some(phantom)}"))
        if again := [key for key in found if most.get(key) == 0]:
            done = f"came back though its done was acknowledged: {some(again)}"
            violations.append(Violation(Verdict.DUPLICATE, done))
        if twice := [key for key in found if found[key] > most.get(key, 0) > 0 and not self.repeats]:
            more = f"came back more often than it was put and not done: {some(twice)}"
            violations.append(Violation(Verdict.DUPLICATE, more))
        return violations

    def lasts(self, first: Sequence[Item], again: Sequence[Item]) -> bool:
        """Whether a second recovery returned the same items, and as often unless that may vary."""
        return AtLeastOnce().lasts(first, again) if self.repeats else super().lasts(first, again)


@dataclass
class _Jobs:
    """The attempts to put and to finish jobs of one payload."""

    puts: list[Operation] = field(default_factory=list)
    dones: list[Operation] = field(default_factory=list)

    def fewest_left(self) -> int:
        return _left((each for each in self.puts if each.acknowledged), self.dones)

    def most_left(self, repeats: bool) -> int:
        finished = [each for each in self.dones if each.acknowledged]
        if repeats:  # All of the dones may be of the job that was put first.
            first = min(self.puts, key=lambda each: each.start)
            return len(self.puts) - any(not each.precedes(first) for each in finished)
        return _left(self.puts, finished)


def _left(puts: Iterable[Operation], dones: Iterable[Operation]) -> int:
    """Return how many jobs are left if as many as possible are finished."""
    left = 0
    for _, change in sorted([*((each.start, 1) for each in puts), *((each.end, -1) for each in dones)]):
        left = max(0, left + change)
    return left


def _by_payload(promises: Promises) -> dict[str, _Jobs]:
    """Return the jobs of each payload; those there at first were put. Raises UsageError."""
    initial = [["put", item] for item in promises.initial]
    found: dict[str, _Jobs] = {}
    for each in operations(initial, promises.events):  # A writer may give up one payload and go on with another.
        what, key = _named(each.item)
        jobs = found.setdefault(key, _Jobs())
        (jobs.puts if what == "put" else jobs.dones).append(each)
    return found


def _named(item: Item) -> tuple[str, str]:
    if not isinstance(item, list | tuple) or len(item) != 2 or item[0] not in ("put", "done"):
        raise UsageError(f'a queue needs items ["put", X] and ["done", X], not {item_key(item)[:60]}')
    return str(item[0]), item_key(item[1])
