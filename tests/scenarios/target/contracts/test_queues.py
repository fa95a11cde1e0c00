"""Queues: what may still wait, by a table, by brute force, and by a queue that keeps its promise."""

from __future__ import annotations

from random import Random

import pytest

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import Contract, Queue
from tests.scenarios.target.contracts.oracle import Did, History, Status, key_of, queued
from tests.scenarios.target.contracts.rows import found_in

PUT, DONE, TAKING = 'attempt ["put",1]|ack ["put",1]', '|attempt ["done",1]|ack ["done",1]', '|attempt ["done",1]'
AGAIN = TAKING + '|fail ["done",1]' + DONE
AT_LEAST, AT_MOST = Queue(repeats=True), Queue(lossy=True)

TABLE: list[tuple[Contract, str, list[Item], str]] = [
    (Queue(), PUT, [1], ""),
    (Queue(), PUT, [], "loses: put and acknowledged, not done, but gone: 1"),
    (Queue(), PUT, [1, 1], "duplicate: came back more often than it was put and not done: 1"),
    (Queue(), PUT + TAKING, [1], ""),
    (Queue(), PUT + TAKING, [], ""),
    (Queue(), PUT + DONE, [], ""),
    (Queue(), PUT + DONE, [1], "duplicate: came back though its done was acknowledged: 1"),
    (Queue(), PUT + TAKING + '|fail ["done",1]', [1], ""),
    (Queue(), 'attempt ["put",1]', [], ""),
    (Queue(), 'attempt ["put",1]', [1], ""),
    (Queue(), PUT, [1, 2], "phantom: came back but was never put: 2"),
    (Queue(), f"{PUT}|{PUT}{DONE}", [1], ""),
    (Queue(), f"{PUT}|{PUT}{DONE}", [], "loses: "),
    (AT_LEAST, PUT, [1, 1], ""),
    (AT_LEAST, PUT + DONE, [1], "duplicate: "),
    (AT_LEAST, PUT, [], "loses: "),
    (AT_MOST, PUT, [], ""),
    (AT_MOST, PUT, [1, 1], "duplicate: "),
    (AT_MOST, PUT + DONE, [1], "duplicate: "),
    # a done ended before an equal job was put, so it is of an earlier one
    (Queue(), f"{PUT}{AGAIN}|{PUT}", [], "loses: "),
    (Queue(), f"{PUT}{AGAIN}|{PUT}", [1], ""),
    (Queue(), f"{PUT}{DONE}{DONE}|{PUT}", [], "loses: "),
    (Queue(), f"{PUT}{DONE}{DONE}|{PUT}", [1], ""),
    (Queue(), f"{PUT}{TAKING}|{PUT}", [], "loses: "),  # its consumer went on: it had given up
    (Queue(), f"{PUT}|attempt:c [\"done\",1]|{PUT}", [], "loses: "),
    (Queue(), f"attempt:c [\"done\",1]|{PUT}", [], ""),  # still in flight: it may have come late
    (AT_LEAST, f"{PUT}{AGAIN}|{PUT}", [], "loses: "),
    # a job that came twice was done twice, and the equal job waits
    (AT_LEAST, f"{PUT}|{PUT}{DONE}{DONE}", [1], ""),
    (AT_LEAST, f"{PUT}|{PUT}{DONE}{DONE}", [], ""),
    (Queue(), f"{PUT}|{PUT}{DONE}{DONE}", [1], "duplicate: "),
    (AT_MOST, f"{PUT}|{PUT}{DONE}{DONE}", [1], "duplicate: "),
    # a put without an answer took effect, if its job was done
    (Queue(), 'attempt:p ["put",1]' + DONE, [1], "duplicate: "),
    (AT_LEAST, 'attempt:p ["put",1]' + DONE, [1], "duplicate: "),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "journal", "recovered", "expected"), TABLE)
def test_table(contract: Contract, journal: str, recovered: list[Item], expected: str) -> None:
    """An item that was put stays until it is done, and does not come back then."""
    assert found_in(contract, journal, recovered, expected) == [expected] * bool(expected)


def test_items_of_a_queue() -> None:
    """Items of another form are the target's mistake; items there at first are plain, as recovered ones."""
    with pytest.raises(UsageError, match=r'a queue needs items \["put", X\]'):
        Queue().judge(Promises.parse(b"attempt 1\n"), [])
    assert Queue().judge(Promises((1,)), [1]) == []
    assert [one.verdict for one in Queue().judge(Promises((1,)), [])] == ["loses"]


ENDS: tuple[Status, ...] = ("ack", "ack", "ack", "fail", "open")


def note(history: History, kind: str, did: Did) -> None:
    """Write one line, at which an attempt begins or ends."""
    at = len(history.lines)
    history.lines.append(f"{kind}:{did.writer} {key_of(did.item)}")
    if kind == "attempt":
        did.start = at
        history.attempts.append(did)
    else:
        did.end = at


def drawn(random: Random, attempts_max: int) -> History:
    """Return what clients without a second attempt did to equal jobs, so that anything may overlap."""
    history = History(initial=[1] * (random.random() < 0.3))
    history.attempts += [Did(["put", 1], "ack", -1, -1) for _ in history.initial]
    busy: list[Did] = []
    left = random.randint(1, attempts_max - len(history.initial))
    while left or busy:
        if left and (not busy or random.random() < 0.5):
            left -= 1
            busy.append(Did([random.choice(["put", "done"]), 1], random.choice(ENDS), writer=f"w{left}"))
            note(history, "attempt", busy[-1])
        else:
            did = busy.pop(random.randrange(len(busy)))
            if did.status != "open":
                note(history, did.status, did)
    return history


@pytest.mark.parametrize("attempts_max", [5, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize("contract", [Queue(), AT_LEAST, AT_MOST], ids=["exactly", "at-least", "at-most"])
def test_every_number_of_equal_jobs_agrees_with_brute_force(contract: Queue, attempts_max: int) -> None:
    """A number of jobs is accepted exactly if some course of events leaves it."""
    random, seen = Random(attempts_max), []
    for _ in range(250 if attempts_max == 5 else 1500):
        history = drawn(random, attempts_max)
        lefts = {len(each) for each in queued(history, repeats=contract.repeats)}
        for found in range(attempts_max + 2):
            enough = contract.lossy or found >= min(lefts)
            accepted = enough and (found <= max(lefts) or (contract.repeats and max(lefts) > 0))
            assert (not contract.judge(history.promises, [1] * found)) == accepted, (history.lines, found, lefts)
            assert contract.lossy or contract.repeats or accepted == (found in lefts), (history.lines, found, lefts)
            seen.append(accepted)
    assert seen.count(True) > 200
    assert seen.count(False) > 200


class Work:
    """Three clients of a queue that keeps its promise, in which each job has a number.

    A consumer finishes what it received. It repeats a done that was not confirmed, or gives it up.
    """

    def __init__(self, random: Random, repeats: bool) -> None:
        self.random, self.repeats, self.history = random, repeats, History()
        self.payloads: list[int] = []
        self.there, self.received, self.finished = set[int](), set[int](), set[int]()
        self.under_way: dict[str, tuple[Did, int]] = {}
        self.unconfirmed: dict[str, int] = {}

    def step(self, client: str) -> None:
        """Let a client begin something, or get the answer to what it began."""
        if client in self.under_way:
            self.answer(*self.under_way.pop(client))
        elif client in self.unconfirmed and self.random.random() < 0.7:
            self.begin("done", self.unconfirmed.pop(client), client)
        elif (job := self.received_job()) is not None and self.random.random() < 0.5:
            self.received.add(job)
            self.begin("done", job, client)
        else:
            self.payloads.append(self.random.randint(1, 2))
            self.begin("put", len(self.payloads) - 1, client)

    def received_job(self) -> int | None:
        waiting = sorted(self.there - (self.finished if self.repeats else self.received))
        return self.random.choice(waiting) if waiting else None

    def begin(self, what: str, job: int, client: str) -> None:
        did = Did([what, self.payloads[job]], "open", writer=client)
        note(self.history, "attempt", did)
        self.under_way[client] = did, job
        if self.random.random() < 0.3:  # It takes effect at once; the answer comes later.
            self.take_effect(did, job)

    def take_effect(self, did: Did, job: int) -> None:
        (self.there if did.item[0] == "put" else self.finished).add(job)

    def answer(self, did: Did, job: int) -> None:
        status = self.random.choice(ENDS)
        if status == "ack" or self.random.random() < 0.5:
            self.take_effect(did, job)
        if status != "open":
            note(self.history, status, did)
        if did.item[0] == "done" and status != "ack":
            self.unconfirmed[did.writer] = job


@pytest.mark.parametrize("repeats", [False, True])
def test_a_queue_that_keeps_its_promise_is_never_blamed(repeats: bool) -> None:
    """Attempts fail, jobs come twice, dones are repeated: the jobs that are left keep the promise."""
    random = Random(1)
    for _ in range(500):
        work = Work(random, repeats)
        for _ in range(random.randint(4, 25)):
            work.step(random.choice(["v", "w", "x"]))
        left = [work.payloads[job] for job in sorted(work.there - work.finished)]
        assert Queue(repeats=repeats).judge(work.history.promises, left) == [], (work.history.lines, left)
        if not repeats:
            assert AT_MOST.judge(work.history.promises, left) == []
