"""Systems and contracts whose code ends in odd ways, and undisturbed runs that say nothing, for tests of their verdicts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from crashmatrix import Contract, Journal, PromiseBroken, Promises, Violation
from tests.scenarios.toy_systems import BEFORE_WRITE, Synced


class OwnVerdict(Exception):
    verdict = "safe"
    explanation = "all is well"


class OddVerdict(BaseException):
    verdict = object()


class Unprintable(Exception):
    def __str__(self) -> str:
        sys.exit(0)


class AlteredLater(PromiseBroken):
    def __init__(self) -> None:
        super().__init__("corrupt", "x")
        self.verdict = "safe"  # type: ignore[assignment]  # that is the point


def _throw(error: BaseException) -> NoReturn:
    raise error


def _fork_and_die(number: int) -> None:
    if os.fork():
        os.kill(os.getpid(), number)


def _close_and_reuse() -> None:
    os.closerange(3, 4096)
    for _ in range(64):
        os.open("/dev/null", os.O_RDWR)


ENDS: dict[str, Callable[[], object]] = {
    "exits": lambda: sys.exit(0),
    "ends the process": lambda: os._exit(0),
    "own verdict": lambda: _throw(OwnVerdict("x")),
    "odd verdict": lambda: _throw(OddVerdict("x")),
    "unprintable": lambda: _throw(Unprintable()),
    "half a character": lambda: _throw(ValueError("\udcff")),
    "closes descriptors": lambda: os.closerange(3, 4096),
    "closes and reuses them": _close_and_reuse,
    "dies": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "dies by a real-time signal": lambda: os.kill(os.getpid(), 40),
    "forks and dies": lambda: _fork_and_die(42),
}
CLAIMS: dict[str, Callable[[], object]] = {
    "safe": lambda: _throw(PromiseBroken("safe", "x")),
    "unknown": lambda: _throw(PromiseBroken("unknown", "x")),
    "unmountable": lambda: _throw(PromiseBroken("unmountable", "x")),
    "misspelt": lambda: _throw(PromiseBroken("lost", "x")),
    "altered": lambda: _throw(AlteredLater()),
}
RETURNS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "an empty text": lambda: "",
    "junk": lambda: [object()],
    "safe": lambda: [Violation("safe", "x")],  # type: ignore[arg-type]  # that is the point
    "misspelt": lambda: [Violation("lost", "x")],  # type: ignore[arg-type]
    "unhashable": lambda: [Violation([], "x")],  # type: ignore[arg-type]
    "a generator that fails": lambda: (1 // 0 for _ in range(1)),
}


class OddRecovery(Synced):
    """Recovery ends oddly once an item was stored."""

    seconds_max = 5.0

    def __init__(self, end: str) -> None:
        self.end = (ENDS | CLAIMS)[end]

    def recover(self, root: Path) -> Sequence[Any]:
        items = super().recover(root)
        if items:
            self.end()
        return items


class OddVerify(OddRecovery):
    """The system's own check does."""

    def recover(self, root: Path) -> Sequence[Any]:
        return Synced.recover(self, root)

    def verify(self, root: Path, promises: Promises) -> None:
        if promises.acknowledged:
            self.end()


class _OddContract(Contract):
    """Ends as the first item says while there is no other, so the undisturbed run passes it."""

    def check(self, promises: Promises, recovered: Sequence[Any]) -> Any:
        if len(promises.acknowledged) != 1:
            return []
        return (ENDS | RETURNS)[promises.acknowledged[0]]()


class OddContract(Synced):
    seconds_max = 5.0
    contract = _OddContract()

    def __init__(self, end: str) -> None:
        self.end = end

    def workload(self, root: Path, journal: Journal) -> None:
        for item in (self.end, 1, 2):
            with journal.attempt(item):
                self.put(root, item)  # type: ignore[arg-type]  # any JSON value will do


class _Yields(Contract):
    """Right, and changes what it is given."""

    def check(self, promises: Promises, recovered: Sequence[Any]) -> Any:
        yield from ()
        assert isinstance(recovered, list)
        recovered.clear()


class YieldsViolations(Synced):
    contract = _Yields()


class OddItems(Synced):
    """Right: JSON takes these items, pickle does not."""

    def recover(self, root: Path) -> Iterator[Any]:  # type: ignore[override]  # a generator will do
        class Number(int):
            pass

        return (Number(item) for item in Synced.recover(self, root))


class FailsWhileYielding(Synced):
    """Recovery is a generator, and fails on the way."""

    def recover(self, root: Path) -> Iterator[Any]:  # type: ignore[override]
        yield from Synced.recover(self, root)
        raise ValueError("no end")


class LeavesAProcess(Synced):
    """Right: a process that recovery leaves behind holds open whatever was open."""

    seconds_max = 3.0

    def recover(self, root: Path) -> Sequence[Any]:
        if os.fork() == 0:
            os.chdir("/")
            signal.pause()
        return super().recover(root)


class AttemptsOnly(Synced):
    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(3):
            journal.attempt(item)
            self.put(root, item)


class AcknowledgesOnly(Synced):
    def workload(self, root: Path, journal: Journal) -> None:
        self.put(root, 1)
        journal.write("ack", 1)


class Silent(Synced):
    def workload(self, root: Path, journal: Journal) -> None:
        self.put(root, 1)

    def recover(self, root: Path) -> Sequence[Any]:
        return []


class Idle(Synced):
    def workload(self, root: Path, journal: Journal) -> None:
        pass


class PreparesAndAttempts(AttemptsOnly):
    """Recovery owes the items that were there from the start, but not those of the workload, which nobody acknowledges."""

    def prepare(self, root: Path) -> Sequence[Any]:  # type: ignore[override]
        self.put(root, 100)
        return [100]


class Rewrites(Synced):
    """Right: stores nothing new, but what was there from the start is owed while it is written anew."""

    in_place = False

    def prepare(self, root: Path) -> Sequence[Any]:  # type: ignore[override]
        self.put(root, 100)
        return [100]

    def workload(self, root: Path, journal: Journal) -> None:
        new = root / ("data" if self.in_place else "new")
        with new.open("w") as file:
            BEFORE_WRITE.hit()
            file.write("100\n")
            file.flush()
            os.fsync(file.fileno())
        new.rename(root / "data")


class RewritesInPlace(Rewrites):
    in_place = True


class ForgetsTheFirst(Synced):
    """Wrong without any crash."""

    def recover(self, root: Path) -> Sequence[Any]:
        return super().recover(root)[1:]


class Lists(Synced):
    """Right, and lists a failpoint of a program that it never runs."""

    def failpoints_outside(self) -> Sequence[str]:
        return ["never_there"]
