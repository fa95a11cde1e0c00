"""Small logs, each right or wrong in one way when a call fails, for tests of io-error. One item a line, its sum behind it."""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crashmatrix import Journal, SystemUnderTest
from crashmatrix.faults import declare

ITEMS, MAPPED_ITEMS = 3, 12

BEFORE_WRITE = declare("error_systems.before_write", "nothing is written")
IN_CLEANUP = declare("error_systems.in_cleanup", "an error is being handled")


def sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Log(SystemUnderTest):
    """Right: it stops at the first error, and recovery cuts off a torn record."""

    seconds_max = 20.0
    items, padding = ITEMS, b""
    """How many there are, and the end of each record."""
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND

    def workload(self, root: Path, journal: Journal) -> None:
        self.store(root, journal, range(self.items))

    def resume(self, root: Path, journal: Journal) -> None:
        self.store(root, journal, range(self.items, self.items + 2))

    def store(self, root: Path, journal: Journal, items: Sequence[int]) -> None:
        fd = os.open(root / "log", self.flags, 0o644)
        for item in items:
            with self.trying(), journal.attempt(item):
                self.append(root, fd, b"%04d%04d%b\n" % (item, item, self.padding))

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """How an error is handled."""
        yield

    def append(self, root: Path, fd: int, record: bytes) -> None:
        self.write(root, fd, record)
        os.fsync(fd)

    def write(self, root: Path, fd: int, record: bytes) -> None:
        while record:
            record = record[os.write(fd, record) :]

    def recover(self, root: Path) -> Sequence[Any]:
        path = root / "log"
        if not path.exists():
            return []
        found, whole = [], 0
        for line in path.read_bytes().splitlines(keepends=True):
            if line[:4] != line[4:8] or line[8:] != self.padding + b"\n":
                break
            found.append(int(line[:4]))
            whole += len(line)
        self.cut_off(path, whole)
        return found

    def cut_off(self, path: Path, whole: int) -> None:
        os.truncate(path, whole)


class Counted(Log):
    """Right; a file in its workspace has one byte for each recovery."""

    def recover(self, root: Path) -> Sequence[Any]:
        with (self.workspace / "recoveries").open("ab") as file:
            file.write(b"r")
        return super().recover(root)


class CannotCutOff(Exception):
    """The written part of a record stays there."""


class CarriesOn(Log):
    """Goes on to the next item after an error."""

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        with contextlib.suppress(OSError):
            yield


class GoesOn(CarriesOn):
    """Right: it goes on after an error, having cut off whatever of the record was written. If that fails, it stops."""

    def write(self, root: Path, fd: int, record: bytes) -> None:
        before = os.fstat(fd).st_size
        try:
            super().write(root, fd, record)
        except OSError:
            self.cut_back(fd, before)
            raise

    def cut_back(self, fd: int, length: int) -> None:
        while True:
            try:
                os.ftruncate(fd, length)
            except InterruptedError:
                continue
            except OSError as error:
                raise CannotCutOff from error
            return


class StoresLessLater(GoesOn):
    """Right; it stores six items when it runs for the first time, and two from then on."""

    def workload(self, root: Path, journal: Journal) -> None:
        seen = self.workspace / "seen"
        first = not seen.exists()
        seen.touch()
        self.store(root, journal, range(6 if first else 2))


class IgnoresShortWrites(Log):
    """Wrong: takes each write for a whole one."""

    def write(self, root: Path, fd: int, record: bytes) -> None:
        os.write(fd, record)


class NamedIgnoresShortWrites(IgnoresShortWrites):
    """The same, with a log whose name is durable beforehand: it loses nothing by a power cut alone."""

    def prepare(self, root: Path) -> None:
        (root / "log").touch()
        sync_folder(root)


class Swallows(Log):
    """Wrong: acknowledges what could not be written."""

    def write(self, root: Path, fd: int, record: bytes) -> None:
        with contextlib.suppress(OSError):
            super().write(root, fd, record)


class AppendsBehind(CarriesOn):
    """Wrong: goes on behind a torn record, where no recovery finds anything."""


class ResumesBehind(Log):
    """Wrong: recovery leaves a torn record where it is, and the next life appends behind it."""

    def cut_off(self, path: Path, whole: int) -> None:
        pass


class RemovesOnError(Log):
    """Wrong: cleans up after an error by removing the log, the only copy of what was stored before."""

    def write(self, root: Path, fd: int, record: bytes) -> None:
        try:
            super().write(root, fd, record)
        except OSError:
            (root / "log").unlink()
            raise


class RewritesOnError(CarriesOn):
    """Wrong: after an error it writes its log anew, and for an instant the old one is not where recovery looks for it."""

    def write(self, root: Path, fd: int, record: bytes) -> None:
        before = os.fstat(fd).st_size
        try:
            super().write(root, fd, record)
        except OSError:
            (root / "log").rename(root / "log.bad")
            (root / "log").write_bytes((root / "log.bad").read_bytes()[:before])
            new = os.open(root / "log", self.flags)
            os.dup2(new, fd)
            os.close(new)
            (root / "log.bad").unlink()
            raise


class MovesAtFailpoint(Log):
    """Wrong: the same for an error of a failpoint, between two others."""

    def write(self, root: Path, fd: int, record: bytes) -> None:
        try:
            BEFORE_WRITE.hit()
        except OSError:
            IN_CLEANUP.hit()
            (root / "log").rename(root / "log.bad")
            IN_CLEANUP.hit()
            (root / "log.bad").rename(root / "log")
            raise
        super().write(root, fd, record)


class IgnoresCutBack(GoesOn):
    """Wrong: goes on also if it could not cut off what of a record was written."""

    def cut_back(self, fd: int, length: int) -> None:
        with contextlib.suppress(CannotCutOff):
            super().cut_back(fd, length)


class ForgetsPages(Log):
    """Wrong: a checkpoint whose sync failed is followed by one without its pages, which cuts off the log that has them."""

    items = 4

    def append(self, root: Path, fd: int, record: bytes) -> None:
        super().append(root, fd, record)
        if (item := int(record[:4])) % 2:
            with contextlib.suppress(OSError):
                self.checkpoint(root, fd, self.dirty(item))

    def dirty(self, item: int) -> Sequence[int]:
        return range(item - 1, item + 1)

    def checkpoint(self, root: Path, fd: int, items: Sequence[int]) -> None:
        data = os.open(root / "data", os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            for item in items:
                os.pwrite(data, b"%04d%04d\n" % (item, item), item * mmap.PAGESIZE)
            os.fsync(data)
        finally:
            os.close(data)
        os.ftruncate(fd, 0)

    def recover(self, root: Path) -> Sequence[Any]:
        data = (root / "data").read_bytes() if (root / "data").exists() else b""
        pages = [data[at : at + 4] for at in range(0, len(data), mmap.PAGESIZE)]
        return sorted({*(int(page) for page in pages if page.strip(b"\0")), *super().recover(root)})


class ForgetsPagesForAWhile(ForgetsPages):
    """Wrong: the same, but its last checkpoint writes every page, so that nothing is amiss at the end."""

    items = 6

    def dirty(self, item: int) -> Sequence[int]:
        return super().dirty(item) if item < 5 else range(item + 1)


class SyncedLog(Log):
    """Right: each write is durable once it returns."""

    flags = Log.flags | os.O_DSYNC


class LeavesLock(Log):
    """Wrong: a lock file that is left behind by an error keeps the next start out."""

    def append(self, root: Path, fd: int, record: bytes) -> None:
        os.close(os.open(root / "lock", os.O_CREAT | os.O_EXCL, 0o644))
        super().append(root, fd, record)
        (root / "lock").unlink()

    def recover(self, root: Path) -> Sequence[Any]:
        if (root / "lock").exists():
            raise RuntimeError("the log is in use")
        return super().recover(root)


class Spins(Log):
    """Wrong: tries again for ever."""

    seconds_max = 2.0

    def write(self, root: Path, fd: int, record: bytes) -> None:
        while record:
            with contextlib.suppress(OSError):
                record = record[os.write(fd, record) :]


class RetriesSync(Log):
    """Wrong: tries a failed sync again, and believes the second one."""

    def append(self, root: Path, fd: int, record: bytes) -> None:
        self.write(root, fd, record)
        try:
            os.fsync(fd)
        except OSError:
            os.fsync(fd)


class StaysFull(GoesOn):
    """Wrong: says that it recovers from a full disk, and refuses everything after an error."""

    recovers_from_full_disk = True
    broken = False

    def append(self, root: Path, fd: int, record: bytes) -> None:
        if StaysFull.broken:
            raise OSError("an earlier item failed")
        try:
            super().append(root, fd, record)
        except OSError:
            StaysFull.broken = True
            raise


class ComesBack(GoesOn):
    """Right: stores again once there is room."""

    recovers_from_full_disk = True


class Large:
    """Records that take room on any filesystem."""

    items, padding = 6, b"x" * 300_000

    def cut_back(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)


class LargeStaysFull(Large, StaysFull):
    """Wrong, as that one."""


class LargeComesBack(Large, ComesBack):
    """Right: it cuts off a torn record before the next one, too. On a full btrfs, there is no room to do so at once."""

    whole: int | None = None

    def append(self, root: Path, fd: int, record: bytes) -> None:
        if self.whole is None:
            self.whole = os.fstat(fd).st_size
        os.ftruncate(fd, self.whole)
        super().append(root, fd, record)
        self.whole += len(record)


class LargeSwallows(Large, Swallows):
    """Wrong, as that one."""


class SwallowsAtFailpoint(Log):
    """Wrong: acknowledges what it did not write because of an error at its failpoint."""

    def write(self, root: Path, fd: int, record: bytes) -> None:
        try:
            BEFORE_WRITE.hit()
        except OSError:
            return
        super().write(root, fd, record)


class RaisesAtFailpoint(Log):
    """Right: an error at its failpoint is an error of the attempt."""

    def write(self, root: Path, fd: int, record: bytes) -> None:
        BEFORE_WRITE.hit()
        super().write(root, fd, record)


class Idle(SystemUnderTest):
    """Stores nothing in its folder, and so nothing of it can fail."""

    def prepare(self, root: Path) -> Sequence[Any]:
        (root / "log").write_text("1")
        return [1]

    def workload(self, root: Path, journal: Journal) -> None:
        pass

    def recover(self, root: Path) -> Sequence[Any]:
        return [1]


class IgnoresFolderSync(Log):
    """Wrong: goes on although its folder, and so the log's name, could not be made durable."""

    def store(self, root: Path, journal: Journal, items: Sequence[int]) -> None:
        os.close(os.open(root / "log", os.O_CREAT | os.O_WRONLY, 0o644))
        with contextlib.suppress(OSError):
            sync_folder(root)
        super().store(root, journal, items)


class Mapped(SystemUnderTest):
    """Wrong: stores to a mapped file without having room for it, so a full disk is a SIGBUS."""

    recovers_from_full_disk = True
    seconds_max = 20.0

    def workload(self, root: Path, journal: Journal) -> None:
        fd, length = os.open(root / "log", os.O_CREAT | os.O_RDWR, 0o644), MAPPED_ITEMS * mmap.PAGESIZE
        os.ftruncate(fd, length)
        self.make_room(fd, length)
        with mmap.mmap(fd, length) as pages:
            for item in range(MAPPED_ITEMS):
                with journal.attempt(item):
                    pages[item * mmap.PAGESIZE] = item + 1
                    self.sync(fd, pages, item)

    def sync(self, fd: int, pages: mmap.mmap, item: int) -> None:
        pages.flush()

    def make_room(self, fd: int, length: int) -> None:
        """Do nothing: the file is one hole."""

    def recover(self, root: Path) -> Sequence[Any]:
        path = root / "log"
        return [byte - 1 for byte in path.read_bytes()[:: mmap.PAGESIZE] if byte] if path.exists() else []


class MappedWithRoom(Mapped):
    """Right: it has room for the whole file before it maps it."""

    def make_room(self, fd: int, length: int) -> None:
        os.posix_fallocate(fd, 0, length)


class MappedAgain(MappedWithRoom):
    """Right: after a failed sync it stores again, so that the page is dirty again."""

    def sync(self, fd: int, pages: mmap.mmap, item: int) -> None:
        try:
            os.fsync(fd)
        except OSError:
            pages[item * mmap.PAGESIZE] = item + 1
            os.fsync(fd)


class ReadsBack(GoesOn):
    """Right: it writes its log anew with each item, and gives up an item if it cannot read the log."""

    fails_reads = True

    def append(self, root: Path, fd: int, record: bytes) -> None:
        (root / "log.new").write_bytes(self.known(root) + record)
        (root / "log.new").replace(root / "log")

    def known(self, root: Path) -> bytes:
        return (root / "log").read_bytes()


class ReadErrorIsEmpty(ReadsBack):
    """Wrong: takes a log that it cannot read for an empty one."""

    def known(self, root: Path) -> bytes:
        try:
            return super().known(root)
        except OSError:
            return b""


class ColdLog(ReadsBack):
    """Right: the same, durably, with items from before. So its first read is one of the disk."""

    def prepare(self, root: Path) -> Sequence[Any]:
        items = range(1000, 1600)
        (root / "log").write_bytes(b"".join(b"%04d%04d\n" % (item, item) for item in items))
        return list(items)

    def append(self, root: Path, fd: int, record: bytes) -> None:
        with (root / "log.new").open("wb") as file:
            file.write(self.known(root) + record)
            file.flush()
            os.fsync(file.fileno())
        (root / "log.new").replace(root / "log")
        sync_folder(root)


class ColdLogTakenForEmpty(ReadErrorIsEmpty, ColdLog):
    """Wrong: takes a log that it cannot read for an empty one, and reads it from the disk."""


class ReadsAreLeftAlone(ReadErrorIsEmpty):
    """The same, which nobody notices: reads fail only of a target that wants it."""

    fails_reads = False
