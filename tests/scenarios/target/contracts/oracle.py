"""A brute-force oracle for contracts: every order of the attempts of a small journal, and what each leads to.

    history = data.draw(histories(items))     what three writers did, and their journal
    history.orders()                          every choice and order of attempts that explains the journal
    logs(history)                             what a log may hold of them
    queued(history, repeats=False)            what may wait in a queue whose puts and dones these attempts are

It knows intervals from how the journal was made, and shares no code with the contracts.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import strategies as st

from crashmatrix import Item, Promises

Status = Literal["ack", "fail", "open"]


@dataclass
class Did:
    """One attempt: its item, how it ended, and its lines in the journal."""

    item: Item
    status: Status
    start: float = math.nan
    end: float = math.inf
    writer: str = ""


@dataclass
class History:
    """Everything that the writers did."""

    attempts: list[Did] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    initial: Sequence[Item] = ()

    @property
    def promises(self) -> Promises:
        """The journal as a contract gets it."""
        return Promises.parse("".join(f"{line}\n" for line in self.lines).encode(), self.initial)

    def orders(self, *, optional: Sequence[Status] = ("fail", "open")) -> Iterator[tuple[Did, ...]]:
        """Return every order of the attempts, each with those of these ends left out or not."""
        must = [each for each in self.attempts if each.status not in optional]
        may = [each for each in self.attempts if each.status in optional]
        for number in range(len(may) + 1):
            for chosen in itertools.combinations(may, number):
                for order in itertools.permutations([*must, *chosen]):
                    if all(not late.end < early.start for early, late in itertools.combinations(order, 2)):
                        yield order


def key_of(item: Item) -> str:
    """An item as a key of a set."""
    return json.dumps(item, sort_keys=True)


def logs(history: History) -> Iterator[list[Item]]:
    """Return every log that is allowed: the beginning of an order, with each attempt that was acknowledged.

    An acknowledgement may be of an earlier attempt in place of its own: the writer had repeated that attempt without an answer.
    """
    stand_ins = [(each, _repeated(each, history.attempts)) for each in history.attempts if each.status == "ack"]
    for order in history.orders(optional=("fail",)):
        places = {id(each): place for place, each in enumerate(order, 1)}
        owed = max((min(places[id(one)] for one in alike) for _, alike in stand_ins), default=0)
        for length in range(owed, len(order) + 1):
            yield [each.item for each in order[:length]]


def _repeated(last: Did, attempts: Sequence[Did]) -> list[Did]:
    """Return an attempt and those directly before it that its writer repeated without an answer."""
    own = [each for each in attempts if each.writer == last.writer and each.start <= last.start]
    earlier = itertools.takewhile(lambda each: each.status == "open" and each.item == last.item, own[-2::-1])
    return [last, *earlier]


def queued(history: History, *, repeats: bool) -> Iterator[list[Item]]:
    """Return everything that may wait in a queue: the payloads are independent of each other."""
    by_payload: dict[str, History] = {}
    for each in history.attempts:
        by_payload.setdefault(key_of(each.item[1]), History()).attempts.append(each)
    for counts in itertools.product(*(sorted(_waiting(own, repeats)) for own in by_payload.values())):
        yield [json.loads(key) for key, count in zip(by_payload, counts, strict=True) for _ in range(count)]


def _waiting(history: History, repeats: bool) -> set[int]:
    """Return how many jobs of one payload may wait.

    Each job has a number, by which a done finishes it. Only what no other course of events explains may be a done of no job.
    """
    courses: dict[frozenset[int], set[tuple[int, int]]] = {}
    for order in history.orders():
        reached: set[tuple[frozenset[int], int]] = {(frozenset(), 0)}
        jobs = 0
        for each in order:
            if each.item[0] == "put":
                jobs += 1
                continue
            following = set()
            for finished, without in reached:
                may = [job for job in range(jobs) if repeats or job not in finished]
                following |= {(finished | {job}, without) for job in may} or {(finished, without + 1)}
            reached = following
        courses.setdefault(frozenset(map(id, order)), set()).update((n, jobs - len(done)) for done, n in reached)
    return {left for each in courses.values() for without, left in each if without == min(each)[0]}


def tally(items: Sequence[Item]) -> Counter[str]:
    """How often each item is there."""
    return Counter(map(key_of, items))


@st.composite
def histories(
    draw: st.DrawFn,
    items: st.SearchStrategy[Item],
    attempts_max: int = 5,
    ends: Sequence[Status] = ("ack", "ack", "fail", "open"),
) -> History:
    """Three writers, each with a sequence of attempts; their lines interleaved anyhow."""
    history = History()
    queues: dict[str, list[tuple[str, Did]]] = {"a": [], "b": [], "c": []}
    for _ in range(draw(st.integers(0, attempts_max))):
        did = Did(draw(items), draw(st.sampled_from(ends)))
        history.attempts.append(did)
        did.writer = draw(st.sampled_from("abc"))
        queue = queues[did.writer]
        queue.append(("attempt", did))
        if did.status != "open":
            queue.append((did.status, did))
    given_up: dict[str, Did] = {}
    while any(queues.values()):
        writer = draw(st.sampled_from([name for name, queue in queues.items() if queue]))
        kind, did = queues[writer].pop(0)
        at = len(history.lines)
        if kind == "attempt":
            did.start = at
            if writer in given_up:
                given_up.pop(writer).end = at - 0.5
            if did.status == "open":
                given_up[writer] = did
        else:
            did.end = at
        history.lines.append(f"{kind}:{writer} {key_of(did.item)}")
    return history
