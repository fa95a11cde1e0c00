"""Small stores, each right or wrong in one way, for tests of the experiments. Kept as one JSON item a line."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crashmatrix import Journal, PromiseBroken, Promises, SystemUnderTest
from crashmatrix.faults import declare
from crashmatrix.faults.disk.trace.file import sync_directory
from crashmatrix.scenarios.processes.sandbox.limits import PROCESSES_MAX

BEFORE_WRITE = declare("toy.put.before_write", "nothing is written")
AFTER_WRITE = declare("toy.put.after_write", "handed to the kernel, not acknowledged")
BETWEEN = declare("toy.put.between_halves", "half of the line is written")
WORKING = declare("toy.work.before_or_after_put", "before an item is stored, or after")
RECOVERING = declare("toy.recover.before_return", "read back")
SELDOM = declare("toy.recover.seldom", "four items are there, and recovery has moved them away")

ITEMS = 6


class Store(SystemUnderTest):
    """Right: a line is written whole before it is acknowledged; a torn last line is ignored."""

    failpoints_suffice = True

    def put(self, root: Path, item: int) -> None:
        BEFORE_WRITE.hit()
        with (root / "data").open("a") as file:
            file.write(json.dumps(item) + "\n")
        AFTER_WRITE.hit()

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(ITEMS):
            with journal.attempt(item):
                self.put(root, item)

    def recover(self, root: Path) -> Sequence[Any]:
        data = (root / "data").read_text() if (root / "data").exists() else ""
        RECOVERING.hit()
        return [json.loads(line) for line in data.split("\n")[:-1]]


class PutsAside(Store):
    """Wrong: one item waits in a file that recovery does not read, until the next one is put."""

    def put(self, root: Path, item: int) -> None:
        aside = root / "aside"
        if aside.exists():
            super().put(root, json.loads(aside.read_text()))
            aside.unlink()
        if item == 1:
            aside.write_text(json.dumps(item))
            AFTER_WRITE.hit()
        else:
            super().put(root, item)


class Long(Store):
    """Right, with so many items that a run is still under way when it is interrupted."""

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(150):
            with journal.attempt(item):
                self.put(root, item)


class Buffered(Store):
    """Wrong: keeps items in memory, two at a time."""

    def __init__(self) -> None:
        self._held: list[int] = []

    def put(self, root: Path, item: int) -> None:
        self._held.append(item)
        if len(self._held) == 2:
            for held in self._held:
                super().put(root, held)
            self._held = []


class Torn(Store):
    """Wrong: writes a line in two halves and takes what it finds for a line."""

    def put(self, root: Path, item: int) -> None:
        with (root / "data").open("a") as file:
            file.write(str(item + 10)[:1])
            file.flush()
            BETWEEN.hit()
            file.write(str(item + 10)[1:] + "\n")

    def recover(self, root: Path) -> Sequence[Any]:
        data = (root / "data").read_text() if (root / "data").exists() else ""
        return [int(line) - 10 for line in data.split("\n") if line]


class MarkedInOnePlace(Torn):
    """Wrong between two system calls, where it has no failpoint; it has one elsewhere, in its workload and in its recovery."""

    failpoints_suffice = False

    def put(self, root: Path, item: int) -> None:
        BEFORE_WRITE.hit()
        with (root / "data").open("a") as file:
            file.write(str(item + 10)[:1])
            file.flush()
            file.write(str(item + 10)[1:] + "\n")

    def recover(self, root: Path) -> Sequence[Any]:
        items = super().recover(root)
        (root / "read").write_text("")
        RECOVERING.hit()
        return items


class SaysMarkedEverywhere(MarkedInOnePlace):
    """The same, but it says that its failpoints suffice."""

    failpoints_suffice = True


class KeepsInodeNumber(Store):
    """Right where it is, but takes a copy of its file for another file, by the inode number."""

    def put(self, root: Path, item: int) -> None:
        super().put(root, item)
        (root / "new").write_text(str((root / "data").stat().st_ino))
        (root / "new").rename(root / "number")

    def recover(self, root: Path) -> Sequence[Any]:
        number = root / "number"
        if number.exists() and int(number.read_text()) != (root / "data").stat().st_ino:
            raise ValueError("another file")
        return super().recover(root)


class ForgetsOnRecovery(Store):
    """Wrong: recovery moves the data away before it has a copy, so a crash within loses it."""

    def recover(self, root: Path) -> Sequence[Any]:
        data = root / "data"
        items = super().recover(root)
        data.unlink(missing_ok=True)
        RECOVERING.hit()
        data.write_text("".join(f"{json.dumps(item)}\n" for item in items))
        return items


class ForgetsSeldom(Store):
    """Wrong in one of its states: recovery writes its data anew if there are four items, and a crash within loses them."""

    def recover(self, root: Path) -> Sequence[Any]:
        items = super().recover(root)
        if len(items) == 4:
            (root / "data").write_text("")
            SELDOM.hit()
            (root / "data").write_text("".join(f"{json.dumps(item)}\n" for item in items))
        return items


class RepeatsOnRecovery(Store):
    """Wrong: each recovery appends what it found once more."""

    def recover(self, root: Path) -> Sequence[Any]:
        items = list(super().recover(root))
        with (root / "data").open("a") as file:
            file.writelines(f"{json.dumps(item)}\n" for item in items)
        return items


class Stirring(Store):
    """Wrong by its own word: each recovery leaves another file."""

    stable_recovery = True

    def recover(self, root: Path) -> Sequence[Any]:
        (root / f"recovered-{len(list(root.iterdir()))}").touch()
        return super().recover(root)


class Raising(Store):
    def recover(self, root: Path) -> Sequence[Any]:
        raise ValueError(f"cannot read {root}")


class Crashing(Store):
    def recover(self, root: Path) -> Sequence[Any]:
        os.kill(os.getpid(), signal.SIGSEGV)
        return []


class Hanging(Store):
    seconds_max = 1.0

    def recover(self, root: Path) -> Sequence[Any]:
        while True:
            time.sleep(60)


class HangsWithTwo(Store):
    """Recovery hangs on every folder with two items or more."""

    seconds_max = 3.0

    def recover(self, root: Path) -> Sequence[Any]:
        items = super().recover(root)
        if len(items) > 1:
            time.sleep(600)
        return items


class Nonsense(Store):
    """Recovery returns a value that is not JSON."""

    def recover(self, root: Path) -> Sequence[Any]:
        return [object()]


class CheckerCrashes(Store):
    def verify(self, root: Path, promises: Promises) -> None:
        raise RuntimeError("the check is broken")


class CheckerObjects(Store):
    def verify(self, root: Path, promises: Promises) -> None:
        raise PromiseBroken("hole", "says the check")


class Diary(Store):
    """Notes in its workspace which process did what; its check ends as the last item attempted says."""

    def _note(self, what: str) -> None:
        life = self.__dict__.setdefault("life", random.SystemRandom().random())
        with (self.workspace / "diary").open("a") as file:
            file.write(f"{life} {what}\n")

    def recover(self, root: Path) -> Sequence[Any]:
        self._note("recover")
        return super().recover(root)

    def verify(self, root: Path, promises: Promises) -> None:
        self._note("verify")
        if promises.events[-1].item == "objects":
            raise PromiseBroken("hole", "says the check")
        if promises.events[-1].item == "dies":
            os._exit(3)


class DiaryThatEndsLate(Diary):
    """Writes the last words of its folder when its process ends, as a database does that is closed by then."""

    stable_recovery = True

    def recover(self, root: Path) -> Sequence[Any]:
        found = super().recover(root)
        self.closes = weakref.finalize(self, (root / "closed").write_text, "in order")
        return found


class DiaryOfAChild(Diary):
    """A first recovery leaves a process that goes on writing to the folder."""

    def recover(self, root: Path) -> Sequence[Any]:
        found = super().recover(root)
        if not (root / "child").exists() and os.fork() == 0:
            while True:
                (root / "child").write_text(str(time.monotonic_ns()))
        while not (root / "child").exists():
            time.sleep(0.001)
        return found


class UncheckedDiary(Diary):
    """The same, without a check of its own."""

    verify = SystemUnderTest.verify


class AcknowledgesTwice(Store):
    def workload(self, root: Path, journal: Journal) -> None:
        attempt = journal.attempt(0)
        self.put(root, 0)
        attempt.acknowledge()
        attempt.acknowledge()


class DoesNothing(Store):
    def workload(self, root: Path, journal: Journal) -> None:
        return


class NeverWrites(Store):
    """Promises nothing and writes nothing: every crash looks like the end."""

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(ITEMS):
            journal.attempt(item)


class FiresOnce(Store):
    """Its failpoint is hit in the first run of the workload only."""

    def workload(self, root: Path, journal: Journal) -> None:
        seen = self.workspace / "seen"
        if not seen.exists():
            seen.touch()
            BETWEEN.hit()
        super().workload(root, journal)


class FiresLess(Store):
    """Its failpoint is hit twice more in the first run of the workload than in all others, as threads may do."""

    def workload(self, root: Path, journal: Journal) -> None:
        seen = self.workspace / "seen"
        for _ in range(1 if seen.exists() else 3):
            BETWEEN.hit()
        seen.touch()
        super().workload(root, journal)


class DiesByItself(Store):
    def workload(self, root: Path, journal: Journal) -> None:
        sys.stderr.write("no way\n")
        os._exit(7)


class Random(Store):
    """Right, but no two runs write the same bytes."""

    def put(self, root: Path, item: int) -> None:
        (root / os.urandom(8).hex()).touch()
        super().put(root, item)


class Chatty(SystemUnderTest):
    """Right, and keeps a note of random words beside its file. Most words are the same in a handful of runs, by chance."""

    failpoints_suffice = True
    contract = "latest"

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(3):
            with journal.attempt(["k", item]):
                words = ["slow" if random.random() < 0.02 else "fast" for _ in range(200)]
                (root / "note").write_text(f"{os.urandom(4).hex()} {' '.join(words)}\n")
                (root / "new").write_text(str(item))
                (root / "new").replace(root / "k")
                BEFORE_WRITE.hit()

    def recover(self, root: Path) -> Sequence[Any]:
        return [["k", int((root / "k").read_text())]] if (root / "k").exists() else []


class ChattyCalls(Chatty):
    """The same one, killed before its system calls."""

    failpoints_suffice = False


class Replacing(SystemUnderTest):
    """Right: replaces its file by one with a random name, and keeps its process id in a lock file."""

    failpoints_suffice = True
    contract = "latest"

    def workload(self, root: Path, journal: Journal) -> None:
        (root / "lock").write_text(f"pid {os.getpid()}\n")
        for item in range(2):
            with journal.attempt(["k", item]):
                file, name = tempfile.mkstemp(dir=root)
                os.write(file, str(item).encode())
                os.close(file)
                BEFORE_WRITE.hit()
                Path(name).replace(root / "k")

    def recover(self, root: Path) -> Sequence[Any]:
        return [["k", int((root / "k").read_text())]] if (root / "k").exists() else []


class Marking(SystemUnderTest):
    """Right: what an object is worth is an attribute of its file, synced before the file gets its name."""

    failpoints_suffice = True
    contract = "latest"
    sync = staticmethod(os.fsync)

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(2):
            with journal.attempt(["k", item]):
                file = os.open(root / "new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
                os.write(file, b"body")
                os.setxattr(file, "user.item", str(item).encode())
                self.sync(file)
                os.close(file)
                (root / "new").rename(root / "k")
                sync_directory(root)

    def recover(self, root: Path) -> Sequence[Any]:
        return [["k", int(os.getxattr(root / "k", "user.item"))]] if (root / "k").exists() else []


class MarkingCheaply(Marking):
    """Wrong: fdatasync does not keep attributes."""

    sync = staticmethod(os.fdatasync)


class DatingCheaply(Marking):
    """Wrong: what an object is worth is a time that it set, which fdatasync does not keep."""

    sync = staticmethod(os.fdatasync)

    def workload(self, root: Path, journal: Journal) -> None:
        with journal.attempt(["k", 1]):
            file = os.open(root / "k", os.O_CREAT | os.O_WRONLY)
            sync_directory(root)
            os.write(file, b"body")
            os.utime(file, (1, 1))
            self.sync(file)
            os.close(file)

    def recover(self, root: Path) -> Sequence[Any]:
        return [["k", 1]] if (root / "k").exists() and (root / "k").stat().st_mtime == 1 else []


class SeesCopies(Store):
    """Refuses a folder that is a copy of its own."""

    def workload(self, root: Path, journal: Journal) -> None:
        (root / "inode").write_text(str(root.stat().st_ino))
        super().workload(root, journal)

    def recover(self, root: Path) -> Sequence[Any]:
        if (root / "inode").read_text() != str(root.stat().st_ino):
            raise ValueError("this is a copy")
        return super().recover(root)


class AsListed(Store):
    """Right; its recovery first removes what is left over, in the order in which the folder lists it."""

    def workload(self, root: Path, journal: Journal) -> None:
        for name in "bdac":
            (root / f"{name}.tmp").touch()
        super().workload(root, journal)

    def recover(self, root: Path) -> Sequence[Any]:
        for name in os.listdir(root):  # noqa: PTH208  # as many programs do
            if name.endswith(".tmp"):
                RECOVERING.hit()
                (root / name).unlink()
        return super().recover(root)


class Spawning(Store):
    """Starts a process that outlives the workload."""

    def workload(self, root: Path, journal: Journal) -> None:
        if os.fork() == 0:
            (self.workspace / "new").write_text(str(os.getpid()))
            (self.workspace / "new").rename(self.workspace / "pid")
            time.sleep(600)
            os._exit(0)
        while not (self.workspace / "pid").exists():
            os.sched_yield()
        super().workload(root, journal)


class Synced(Store):
    """Right under power cuts too: synced, file and folder."""

    def prepare(self, root: Path) -> None:
        (root / "data").touch()

    def put(self, root: Path, item: int) -> None:
        with (root / "data").open("a") as file:
            file.write(json.dumps(item) + "\n")
            file.flush()
            os.fsync(file.fileno())


class TooMany(Synced):
    """Its workload starts more processes than it may have; each would live for a minute."""

    def workload(self, root: Path, journal: Journal) -> None:
        super().workload(root, journal)
        for _ in range(PROCESSES_MAX):
            if not os.fork():
                time.sleep(60)
                os._exit(0)
        time.sleep(60)


class ByWorkers(Synced):
    """A process of its own stores each other item and writes its journal lines; the main one waits for it."""

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(ITEMS):
            if item % 2 and (pid := os.fork()):
                assert os.waitpid(pid, 0)[1] == 0
                continue
            with journal.attempt(item):
                WORKING.hit()
                self.put(root, item)
                WORKING.hit()
            if item % 2:
                os._exit(0)


class RecoversByWorkers(Store):
    """Recovery has another process read the file, which hits a failpoint and then says what it found."""

    def recover(self, root: Path) -> Sequence[Any]:
        reader, writer = os.pipe()
        if pid := os.fork():
            os.close(writer)
            with os.fdopen(reader) as found:
                items: list[Any] = json.load(found)
            assert os.waitpid(pid, 0)[1] == 0
            return items
        os.write(writer, json.dumps(super().recover(root)).encode())
        os._exit(0)


class SyncsTwice(Synced):
    """Has no failpoint, and syncs its folder, too."""

    def put(self, root: Path, item: int) -> None:
        super().put(root, item)
        sync_directory(root)

    def recover(self, root: Path) -> Sequence[Any]:
        return [json.loads(line) for line in (root / "data").read_text().splitlines()]


class SyncsTwiceAndHitsOnce(SyncsTwice):
    """Has a failpoint, but not where it syncs."""

    def put(self, root: Path, item: int) -> None:
        if not item:
            BEFORE_WRITE.hit()
        super().put(root, item)


class AllocatesAhead(Synced):
    """Needs more room than it requests."""

    disk_bytes = 16 << 20

    def prepare(self, root: Path) -> None:
        super().prepare(root)
        with (root / "ahead").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 200 << 20)


class AllocatesAheadWithRoom(AllocatesAhead):
    """The usual disk is large enough."""

    disk_bytes = 0


class Unsynced(Synced):
    """Wrong under power cuts: nothing is synced, so neither promises nor flushes reach the disk."""

    def put(self, root: Path, item: int) -> None:
        Store.put(self, root, item)


class SyncedMostly(Synced):
    """Wrong under power cuts: one item in three is acknowledged unsynced."""

    def put(self, root: Path, item: int) -> None:
        (Store if item % 3 == 1 else Synced).put(self, root, item)

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(3 * ITEMS):
            with journal.attempt(item):
                self.put(root, item)


class DiesOnOddRecovery(Synced):
    """Recovery dies by a signal once there is anything."""

    def recover(self, root: Path) -> Sequence[Any]:
        items = super().recover(root)
        if items:
            os.kill(os.getpid(), signal.SIGBUS)
        return items


class HangsOnDisk(Synced):
    seconds_max = 2.0

    def recover(self, root: Path) -> Sequence[Any]:
        time.sleep(600)
        return []


class SilentOnDisk(Synced):
    """Writes, but tells its journal nothing."""

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(ITEMS):
            self.put(root, item)

    def recover(self, root: Path) -> Sequence[Any]:
        return []


class MovesOnRecovery(Synced):
    """Wrong if power goes during recovery: it removes the data, durably, before it writes them anew."""

    def recover(self, root: Path) -> Sequence[Any]:
        items = super().recover(root)
        (root / "data").unlink(missing_ok=True)
        sync_directory(root)
        for item in items:
            super().put(root, item)
        return items


class BelievesTheCache(Synced):
    """Wrong if power goes after a restart: it notes, durably, that it found lines which only the page cache has."""

    def put(self, root: Path, item: int) -> None:
        with (root / "data").open("a") as file:
            file.write(json.dumps(item).ljust(5000) + "\n")  # A block of its own, which ext4 allocates when it must.
            file.flush()
            AFTER_WRITE.hit()
            os.fsync(file.fileno())

    def recover(self, root: Path) -> Sequence[Any]:
        items = super().recover(root)
        found = root / "found"
        if found.exists() and int(found.read_text() or 0) > len(items):
            raise ValueError(f"{found.read_text()} items were found before, {len(items)} now")
        with found.open("w") as file:
            file.write(str(len(items)))
            file.flush()
            os.fsync(file.fileno())
        return items


class BelievesTheCacheUnseen(BelievesTheCache):
    """The same, and without a failpoint that would say where."""

    def put(self, root: Path, item: int) -> None:
        with (root / "data").open("a") as file:
            file.write(json.dumps(item).ljust(5000) + "\n")
            file.flush()
            os.fsync(file.fileno())


class NamedTooEarly(SystemUnderTest):
    """Wrong under power cuts: a file gets its name before what is in it is durable."""

    contract = "latest"

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(ITEMS):
            with journal.attempt(["key", item]):
                (root / "new").write_text(f"value {item}\n")
                (root / "new").rename(root / "value")
                sync_directory(root)

    def recover(self, root: Path) -> Sequence[Any]:
        if not (root / "value").exists():
            return []
        _, item = (root / "value").read_text().split()
        return [["key", int(item)]]


class UnsyncedInAnyOrder(Unsynced):
    """Wrong under power cuts, and no two runs store their items in the same order."""

    def workload(self, root: Path, journal: Journal) -> None:
        for item in random.SystemRandom().sample(range(1000), ITEMS):
            with journal.attempt(item):
                self.put(root, item)


class FailsOnceKilled(Synced):
    """Wrong once killed: it refuses what a write without its sync left in the page cache, and power cuts never leave."""

    def put(self, root: Path, item: int) -> None:
        with (root / "data").open("a") as file:
            file.write("unfinished\n")
            file.flush()
            AFTER_WRITE.hit()
            file.truncate(file.tell() - len("unfinished\n"))
        super().put(root, item)


class NoNameIsSynced(Synced):
    """Wrong under power cuts: neither the name of its folder is synced nor that of the file in it."""

    def put(self, root: Path, item: int) -> None:
        (root / "folder").mkdir(exist_ok=True)
        super().put(root / "folder", item)

    def recover(self, root: Path) -> Sequence[Any]:
        return super().recover(root / "folder")


class NoNameIsSyncedNorAllContent(NoNameIsSynced):
    """Wrong in one more way: in the end the file is written anew, in place."""

    def put(self, root: Path, item: int) -> None:
        super().put(root, item)
        if item == ITEMS - 1:
            data = root / "folder" / "data"
            data.write_text(data.read_text())
