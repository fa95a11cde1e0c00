"""Group commit: several writers share one fsync, as threads, as tasks of asyncio, and as processes.

    crashmatrix run docs/examples/group_commit.py:GroupCommit --experiments power --fs posix        # safe
    crashmatrix run docs/examples/group_commit.py:AcknowledgesFirst --experiments power --fs posix  # loses
    crashmatrix run docs/examples/group_commit.py:Tasks --experiments kill --budget 12              # safe
    crashmatrix run docs/examples/group_commit.py:Processes --experiments kill --budget 12          # safe

The journal may be shared between threads, tasks and processes. Each is a writer of its own, and the journal names it, so the
contract knows which attempts overlap: of two that do, either may come first in the log.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import zlib
from pathlib import Path

from crashmatrix import SystemUnderTest

WRITERS, ITEMS = 3, 4


class Log:
    """A log of lines, each with its checksum. `commit` returns once a line is durable; concurrent calls share an fsync."""

    def __init__(self, root: Path) -> None:
        self._fd = os.open(root / "log", os.O_CREAT | os.O_RDWR | os.O_APPEND)
        os.fsync(self._fd)  # After a crash, recovery may trust only the disk.
        folder = os.open(root, os.O_RDONLY)
        os.fsync(folder)  # The log's name is durable from here on.
        os.close(folder)
        self._written = self._durable = 0
        self._lock = threading.Condition()
        self._syncing = False

    def lines(self) -> list[str]:
        """Return the lines up to the first that is torn."""
        found = []
        for record in os.pread(self._fd, os.fstat(self._fd).st_size, 0).split(b"\n")[:-1]:
            line, _, checksum = record.partition(b" ")
            if checksum != str(zlib.crc32(line)).encode():
                break
            found.append(line.decode())
        return found

    def append(self, line: str) -> int:
        """Write a line; returns its number."""
        with self._lock:
            os.write(self._fd, f"{line} {zlib.crc32(line.encode())}\n".encode())
            self._written += 1
            return self._written

    def commit(self, number: int) -> None:
        """Wait until a line is durable: lead a group, or wait for the one that does."""
        with self._lock:
            while self._durable < number and self._syncing:
                self._lock.wait()
            if self._durable >= number:
                return
            self._syncing, group = True, self._written
        os.fsync(self._fd)
        with self._lock:
            self._durable, self._syncing = group, False
            self._lock.notify_all()


class GroupCommit(SystemUnderTest):
    """Threads that share a log, and its syncs."""

    contract = "prefix"

    def workload(self, root, journal):
        log = Log(root)
        threads = [
            threading.Thread(target=self._write, args=(log, journal, number), name=f"writer-{number}")
            for number in range(WRITERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _write(self, log, journal, writer):
        for number in range(ITEMS):
            with journal.attempt(f"{writer}.{number}"):
                log.commit(log.append(f"{writer}.{number}"))

    def recover(self, root):
        return Log(root).lines()


class AcknowledgesFirst(GroupCommit):
    """A deliberate bug: only the leader of a group waits for its fsync; the others return at once."""

    def _write(self, log, journal, writer):
        for number in range(ITEMS):
            with journal.attempt(f"{writer}.{number}"):
                line = log.append(f"{writer}.{number}")
                if writer == 0:
                    log.commit(line)


class Tasks(GroupCommit):
    """Tasks of asyncio: a workload may be ``async def``. The log blocks, so it is called in threads."""

    async def workload(self, root, journal):
        log = Log(root)
        await asyncio.gather(*(self._task(log, journal, writer) for writer in range(WRITERS)))

    async def _task(self, log, journal, writer):
        for number in range(ITEMS):
            with journal.attempt(f"{writer}.{number}"):
                line = await asyncio.to_thread(log.append, f"{writer}.{number}")
                await asyncio.to_thread(log.commit, line)


class Processes(GroupCommit):
    """Processes, each with a log of its own: a journal given to a process works there."""

    contract = "exactly-once"

    def workload(self, root, journal):
        forking = multiprocessing.get_context("fork")
        processes = [
            forking.Process(target=self._process, args=(root, journal, writer), name=f"writer-{writer}")
            for writer in range(WRITERS)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()

    def _process(self, root, journal, writer):
        folder = root / str(writer)
        folder.mkdir(exist_ok=True)
        self._write(Log(folder), journal, writer)

    def recover(self, root):
        return [item for folder in sorted(root.iterdir()) for item in super(Processes, self).recover(folder)]
