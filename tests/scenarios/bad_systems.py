"""Systems that misbehave towards the harness, for tests that it is not impressed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crashmatrix import Journal, SystemUnderTest

LEFT_BEHIND = ["sleep", "600.625"]


class Plain(SystemUnderTest):
    """Right, and without a failpoint."""

    seconds_max = 20.0  # No limit that a busy machine could reach.

    def put(self, root: Path, item: int) -> None:
        with (root / "data").open("a") as file:
            file.write(f"{item}\n")

    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(3):
            with journal.attempt(item):
                self.put(root, item)

    def recover(self, root: Path) -> Sequence[Any]:
        data = root / "data"
        return [int(line) for line in data.read_text().split()] if data.exists() else []


class RewritesInPlace(Plain):
    """Wrong between two journal lines only: the file is empty for a moment."""

    def put(self, root: Path, item: int) -> None:
        items = [*self.recover(root), item]
        (root / "data").write_text("".join(f"{item}\n" for item in items))


class RecoverReturnsNothing(Plain):
    def recover(self, root: Path) -> Sequence[Any]:
        return None  # type: ignore[return-value]  # that is the point


class RecoverReturnsText(Plain):
    def recover(self, root: Path) -> Sequence[Any]:
        return "012"


class RecoverReturnsMapping(Plain):
    def recover(self, root: Path) -> Sequence[Any]:
        return {1: 2}  # type: ignore[return-value]  # that is the point


class RecoverExits(Plain):
    def recover(self, root: Path) -> Sequence[Any]:
        sys.exit(0)


class RecoverEndsTheProcess(Plain):
    def recover(self, root: Path) -> Sequence[Any]:
        os._exit(0)


class RecoverForks(Plain):
    """Forks in `recover`; both processes return from it."""

    def recover(self, root: Path) -> Sequence[Any]:
        os.fork()
        return super().recover(root)


class RecoverLeavesDaemon(Plain):
    def recover(self, root: Path) -> Sequence[Any]:
        subprocess.Popen(LEFT_BEHIND, cwd=root, start_new_session=True)
        return super().recover(root)


class RecoverDeletesItsRoot(Plain):
    def recover(self, root: Path) -> Sequence[Any]:
        items = super().recover(root)
        shutil.rmtree(root)
        return items


class RecoverHangs(Plain):
    seconds_max = 1.0  # The workload has ten times that.

    def recover(self, root: Path) -> Sequence[Any]:
        threading.Event().wait()
        return []


class NeverAcknowledges(Plain):
    def workload(self, root: Path, journal: Journal) -> None:
        for item in range(3):
            journal.attempt(item)
            self.put(root, item)


class AcknowledgesWithoutAttempt(Plain):
    def workload(self, root: Path, journal: Journal) -> None:
        self.put(root, 1)
        journal.write("ack", 1)


class AcknowledgesInDisorder(Plain):
    """Right: acknowledgements may overtake each other."""

    def workload(self, root: Path, journal: Journal) -> None:
        first, second = journal.attempt(1), journal.attempt(2)
        self.put(root, 1)
        self.put(root, 2)
        second.acknowledge()
        first.acknowledge()


class WritesGarbageIntoItsJournal(Plain):
    def workload(self, root: Path, journal: Journal) -> None:
        super().workload(root, journal)
        journal.append(b"hello")


class DeletesItsRoot(Plain):
    def workload(self, root: Path, journal: Journal) -> None:
        super().workload(root, journal)
        shutil.rmtree(root)


class DeletesItsJournal(Plain):
    def workload(self, root: Path, journal: Journal) -> None:
        super().workload(root, journal)
        journal.path.unlink()


class TruncatesItsJournal(Plain):
    def workload(self, root: Path, journal: Journal) -> None:
        super().workload(root, journal)
        os.truncate(journal.path, 0)  # as a shell's > does
        super().put(root, 3)


class WritesOutside(Plain):
    """Keeps its data beside the folder: after a crash it is where it was, and belongs to another run."""

    def put(self, root: Path, item: int) -> None:
        (root.parent / "beside").mkdir(exist_ok=True)
        super().put(root.parent / "beside", item)

    def recover(self, root: Path) -> Sequence[Any]:
        return super().recover(root.parent / "beside")


class WorkloadHangs(Plain):
    seconds_max = 0.5

    def workload(self, root: Path, journal: Journal) -> None:
        threading.Event().wait()


class UsesMultiprocessing(Plain):
    """Right: a system may start processes of its own."""

    def put(self, root: Path, item: int) -> None:
        import multiprocessing

        process = multiprocessing.get_context("fork").Process(target=super().put, args=(root, item))
        process.start()
        process.join()
        assert process.exitcode == 0


class FloodsItsOutput(Plain):
    def workload(self, root: Path, journal: Journal) -> None:
        for _ in range(2000):
            sys.stdout.write("x" * 1000)
        super().workload(root, journal)


class UsesThreads(Plain):
    """Right: a thread that does nothing in the folder."""

    def workload(self, root: Path, journal: Journal) -> None:
        threading.Thread(target=lambda: time.sleep(600), daemon=True).start()
        super().workload(root, journal)
