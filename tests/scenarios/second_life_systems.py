"""Small stores that say how they go on after a crash; all but a few recover rightly, and are wrong only in their second life."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from crashmatrix import Contract, Journal, PromiseBroken, Promises, SystemUnderTest, Violation
from tests.scenarios.toy_systems import AFTER_WRITE, BEFORE_WRITE, BETWEEN, ITEMS, Store, Synced

LATER = range(ITEMS, ITEMS + 3)
"""Items that no first life has stored."""

held: list[TextIO] = []
"""Files that stay open for as long as the process lives."""


class GoesOn(Store):
    """Right: a line is whole, or it is not there."""

    def resume(self, root: Path, journal: Journal) -> None:
        for item in LATER:
            with journal.attempt(item):
                self.put(root, item)


class GoesOnSynced(Synced):
    """Right under power cuts, too."""

    def resume(self, root: Path, journal: Journal) -> None:
        for item in LATER:
            with journal.attempt(item):
                self.put(root, item)

    def recover(self, root: Path) -> Sequence[Any]:
        lines = (root / "data").read_bytes().split(b"\n")
        with (root / "data").open("r+b") as file:
            file.truncate(sum(len(line) + 1 for line in lines[:-1]))
            os.fsync(file.fileno())
        return [json.loads(line) for line in lines[:-1]]


class TwoHalves(GoesOn):
    """Wrong: a line is written in two halves, and a new one begins behind a torn one."""

    def put(self, root: Path, item: int) -> None:
        line = f"{item + 10}\n"
        with (root / "data").open("a", buffering=1) as file:
            file.write(line[:1])
            file.flush()
            BETWEEN.hit()
            file.write(line[1:])
        AFTER_WRITE.hit()

    def recover(self, root: Path) -> Sequence[Any]:
        data = (root / "data").read_text() if (root / "data").exists() else ""
        return [int(line) - 10 for line in data.split("\n")[:-1] if len(line) == 2]


class TwoHalvesAgain(TwoHalves):
    """The same: its workload is its second life."""

    resumes = True

    def workload(self, root: Path, journal: Journal) -> None:
        there = len(journal.recovered)
        for item in range(there, there + 3):
            with journal.attempt(item):
                self.put(root, item)

    resume = SystemUnderTest.resume


class IdsTwice(GoesOn):
    """Wrong: an item has the id after that of the log's last line; a log that was emptied into the base does not know it."""

    def put(self, root: Path, item: int) -> None:
        log = self._lines(root / "log")
        number = log[-1][0] + 1 if log else getattr(self, "_next", 0)
        self._next = number + 1  # In memory, and so right until the process dies.
        BEFORE_WRITE.hit()
        with (root / "log").open("a") as file:
            file.write(json.dumps([number, item]) + "\n")
        if len(log) == 2:
            (root / "new").write_text("".join(json.dumps(line) + "\n" for line in self._all(root)))
            (root / "new").rename(root / "base")
            AFTER_WRITE.hit()
            (root / "log").unlink()

    def recover(self, root: Path) -> Sequence[Any]:
        return [item for _, item in self._all(root)]

    def _all(self, root: Path) -> list[list[int]]:
        lines = [*self._lines(root / "log"), *self._lines(root / "base")]
        return [[number, item] for number, item in {line[0]: line[1] for line in lines}.items()]

    def _lines(self, path: Path) -> list[list[int]]:
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Trips(GoesOn):
    """Wrong: the temporary file of the first life is in the way."""

    def put(self, root: Path, item: int) -> None:
        lines = self.recover(root)
        with (root / "new").open("x") as file:
            file.writelines(f"{json.dumps(line)}\n" for line in [*lines, item])
        BETWEEN.hit()
        (root / "new").rename(root / "data")


class MovesWhenResumed(GoesOn):
    """Wrong if killed again: going on, it removes the data before it writes them anew."""

    def resume(self, root: Path, journal: Journal) -> None:
        items = self.recover(root)
        (root / "data").unlink(missing_ok=True)
        BETWEEN.hit()
        (root / "data").write_text("".join(f"{json.dumps(item)}\n" for item in items))
        super().resume(root, journal)


class Refuses(GoesOn):
    """Wrong: it cannot go on once three items are there."""

    def resume(self, root: Path, journal: Journal) -> None:
        if len(journal.recovered) >= 3:
            raise ValueError(f"{root}/data is full")
        super().resume(root, journal)


class LockStays(GoesOn):
    """Wrong after one crash in many: a lock that is held while one item of many is put stays behind, and is in the way later."""

    def put(self, root: Path, item: int) -> None:
        if item == 25:
            (root / "lock").touch(exist_ok=False)
            AFTER_WRITE.hit()
        super().put(root, item)
        (root / "lock").unlink(missing_ok=True)

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(30):
            with journal.attempt(item):
                self.put(root, item)

    def resume(self, root: Path, journal: Journal) -> None:
        (root / "lock").touch(exist_ok=False)
        with journal.attempt(30):
            self.put(root, 30)


class HangsResumed(GoesOn):
    """Wrong: it never comes to an end once it is resumed."""

    seconds_max = 0.8  # Ten times this for resume; recovery must end within it on a busy machine.

    def resume(self, root: Path, journal: Journal) -> None:
        time.sleep(600)


class StoresNothing(GoesOn):
    """Says nothing: no item is attempted."""

    def resume(self, root: Path, journal: Journal) -> None:
        return


class AcknowledgesNothing(GoesOn):
    """Says nothing: no item is acknowledged."""

    def resume(self, root: Path, journal: Journal) -> None:
        journal.attempt(LATER[0])


class StoresAgain(GoesOn):
    """Says nothing: it stores what was there."""

    def resume(self, root: Path, journal: Journal) -> None:
        for item in range(ITEMS):
            with journal.attempt(item):
                self.put(root, item)


class FillsUp(GoesOn):
    """Right: it stores what is missing, and so nothing where nothing is."""

    def resume(self, root: Path, journal: Journal) -> None:
        for item in range(len(journal.recovered), ITEMS):
            with journal.attempt(item):
                self.put(root, item)


class Everything(Contract):
    """Everything that was ever acknowledged is there."""

    def check(self, promises: Promises, recovered: Sequence[Any]) -> list[Violation]:
        gone = [item for item in promises.acknowledged if item not in recovered]
        return [Violation("loses", f"gone: {gone}")] if gone else []  # type: ignore[arg-type]  # any word will do


class OwnContract(TwoHalves):
    """Wrong as `TwoHalves`, by a contract of its own."""

    contract = Everything()


class TwoHalvesSynced(GoesOnSynced):
    """Wrong: a line is written in two halves, synced; recovery leaves a torn one, and a new one begins behind it."""

    def put(self, root: Path, item: int) -> None:
        line = f"{item + 10}\n"
        with (root / "data").open("ab", buffering=0) as file:
            file.write(line[:1].encode())
            file.write(line[1:].encode())
            os.fsync(file.fileno())

    def recover(self, root: Path) -> Sequence[Any]:
        lines = (root / "data").read_bytes().split(b"\n")[:-1]
        return [int(line) - 10 for line in lines if len(line) == 2 and line.isdigit()]


class StoresNothingSynced(GoesOnSynced):
    """Says nothing: no item is attempted."""

    def resume(self, root: Path, journal: Journal) -> None:
        return


class TakesTurns(SystemUnderTest):
    """Wrong: each key has two slots in a table of one size, written in turn, but each process begins with the first one again."""

    failpoints_suffice = True
    contract = "latest"
    right = False

    def prepare(self, root: Path) -> None:
        (root / "table").write_bytes(bytes(4 * 21))

    def workload(self, root: Path, journal: Journal) -> None:
        self._store(root, journal, range(9))

    def resume(self, root: Path, journal: Journal) -> None:
        self._store(root, journal, range(100, 104))

    def recover(self, root: Path) -> Sequence[Any]:
        newest = [max(self._slots(root)[key : key + 2]) for key in (0, 2)]
        return [[f"k{key}", value] for key, (number, value) in enumerate(newest) if number]

    def _store(self, root: Path, journal: Journal, items: range) -> None:
        for count, item in enumerate(items):
            first, slots = item % 2 * 2, self._slots(root)
            turn = count // 2 % 2
            if self.right:
                turn = int(slots[first] > slots[first + 1])
            number = max(slots[first : first + 2])[0] + 1
            with journal.attempt([f"k{item % 2}", item]), (root / "table").open("r+b", buffering=0) as file:
                file.seek((first + turn) * 21)
                file.write(b"%07d" % number)
                BETWEEN.hit()
                file.write(b"%07d%07d" % (item, number * 1000 + item))

    def _slots(self, root: Path) -> list[tuple[int, int]]:
        """Number and value of each slot, both zero of one that is torn."""
        table = (root / "table").read_bytes()
        slots = [
            [int(table[at + part : at + part + 7].strip(b"\0") or b"0") for part in (0, 7, 14)]
            for at in range(0, 84, 21)
        ]
        return [(number, value) if check == number * 1000 + value else (0, 0) for number, value, check in slots]


class TakesTurnsRightly(TakesTurns):
    """Right: the older slot is written."""

    right = True


class GoesOnElsewhere(GoesOnSynced):
    """Wrong after a kill: recovery syncs nothing of what it read. Life goes on in another file; a gap before that is damage."""

    contract = "prefix"
    syncs = False

    def prepare(self, root: Path) -> None:
        (root / "data").touch()
        (root / "later").touch()

    def put(self, root: Path, item: int) -> None:
        with (root / ("data" if item < ITEMS else "later")).open("a") as file:
            file.write(json.dumps([item, self._there(root)]) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def recover(self, root: Path) -> Sequence[Any]:
        items: list[Any] = []
        for name in ("data", "later"):
            with (root / name).open("r+") as file:
                lines = file.read().split("\n")[:-1]
                file.truncate(sum(len(line) + 1 for line in lines))  # A torn line, if it is the last one.
                if self.syncs or name == "later":
                    os.fsync(file.fileno())
            for item, before in map(json.loads, lines):
                if before != len(items):
                    raise ValueError(f"{before} items were there before {item}, and {len(items)} are")
                items.append(item)
        return items

    def _there(self, root: Path) -> int:
        return sum((root / name).read_bytes().count(b"\n") for name in ("data", "later"))


class GoesOnElsewhereSynced(GoesOnElsewhere):
    """The same, right: recovery syncs what it read before anything is built upon it. Its check knows a first life only."""

    syncs = True

    def verify(self, root: Path, promises: Promises) -> None:
        if unknown := [item for item in promises.attempted if item not in range(ITEMS)]:
            raise PromiseBroken("corrupt", f"an item of another life: {unknown[0]}")


class ForgetsTheUnsynced(GoesOnElsewhere):
    """Right, in an unusual way: it promises nothing of an item that was in flight at the kill, and goes on without it."""

    def recover(self, root: Path) -> Sequence[Any]:
        lines = [line for name in ("data", "later") for line in (root / name).read_text().split("\n")[:-1]]
        return [json.loads(line)[0] for line in lines]


class LeavesALock(GoesOnSynced):
    """Right: recovery holds a lock for as long as its process lives, and resume needs it."""

    def recover(self, root: Path) -> Sequence[Any]:
        self._lock(root)
        return super().recover(root)

    def resume(self, root: Path, journal: Journal) -> None:
        self._lock(root)
        super().resume(root, journal)

    def _lock(self, root: Path) -> None:
        held.append((root / "data").open("r"))
        fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)


class RefusesSynced(GoesOnSynced):
    """Wrong: it cannot go on."""

    def resume(self, root: Path, journal: Journal) -> None:
        raise ValueError(f"there are {len(journal.recovered)} items already")


class StoresAgainSynced(GoesOnSynced):
    """Says nothing: it stores what was there."""

    def resume(self, root: Path, journal: Journal) -> None:
        for item in journal.recovered:
            with journal.attempt(item):
                self.put(root, item)


class AcknowledgesUnsynced(GoesOnSynced):
    """Wrong: going on, it does not sync what it acknowledges."""

    def resume(self, root: Path, journal: Journal) -> None:
        for item in LATER:
            with journal.attempt(item):
                Store.put(self, root, item)
