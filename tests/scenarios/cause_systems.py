"""Small systems that break their promise under power cuts, each for a cause of its own."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

from crashmatrix import SystemUnderTest
from crashmatrix.faults.disk.linux.kernel import start_writeback
from crashmatrix.scenarios.target.journal import Item, Journal

__all__ = [
    "Buffered",
    "ByOtherProcesses",
    "CompactedAtTheEnd",
    "Grown",
    "MapWithoutMsync",
    "RandomNames",
    "TornRecord",
    "TwoSteps",
    "UnsyncedAndCounted",
    "ValuesUnsynced",
    "WrittenBackOnly",
    "WrittenBackOnlyAhead",
]

ITEMS = range(1, 4)


def sync(path: Path) -> None:
    """Make a file or folder durable."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.close(file)


def settled(path: Path, content: bytes) -> None:
    """Write a file, and make it and its name durable."""
    path.write_bytes(content)
    sync(path)
    sync(path.parent)


class _System(SystemUnderTest):
    def workload(self, root: Path, journal: Journal) -> None:
        for item in ITEMS:
            with journal.attempt(item):
                self.put(root, item)

    def put(self, root: Path, item: int) -> None:
        raise NotImplementedError


class MapWithoutMsync(_System):
    """Stores each item to a mapped file that it made in the same life, and never calls msync."""

    def workload(self, root: Path, journal: Journal) -> None:
        settled(root / "map.tmp", bytes(4096))
        (root / "map.tmp").rename(root / "map")
        sync(root)
        with (root / "map").open("r+b") as file, mmap.mmap(file.fileno(), 4096) as self.map:
            super().workload(root, journal)

    def put(self, root: Path, item: int) -> None:
        self.map[item] = item

    def recover(self, root: Path) -> Sequence[Item]:
        return [byte for byte in (root / "map").read_bytes()[:9] if byte] if (root / "map").exists() else []


class Buffered(_System):
    """Keeps each item in the memory of the process."""

    def workload(self, root: Path, journal: Journal) -> None:
        settled(root / "data", b"")
        with (root / "data").open("a") as self.file:
            super().workload(root, journal)

    def put(self, root: Path, item: int) -> None:
        self.file.write(f"{item}\n")

    def recover(self, root: Path) -> Sequence[Item]:
        return [int(line) for line in (root / "data").read_text().split()] if (root / "data").exists() else []


class TornRecord(_System):
    """Overwrites a record of three sectors in place; a mixture is an error."""

    contract = "latest"

    def prepare(self, root: Path) -> Sequence[Item]:
        settled(root / "record", bytes(1536))
        return [["k", 0]]

    def workload(self, root: Path, journal: Journal) -> None:
        for item in ITEMS:
            with journal.attempt(["k", item]), (root / "record").open("r+b") as file:
                file.write(bytes([item]) * 1536)
                file.flush()
                os.fsync(file.fileno())

    def recover(self, root: Path) -> Sequence[Item]:
        content = set((root / "record").read_bytes())
        if len(content) > 1:
            raise ValueError("a mixture")
        return [["k", content.pop()]]


class Grown(_System):
    """Appends records and syncs them; reads zeros as a record."""

    def prepare(self, root: Path) -> None:
        settled(root / "log", b"")

    def put(self, root: Path, item: int) -> None:
        with (root / "log").open("ab") as file:
            file.write(bytes([item]))
            file.flush()
            os.fsync(file.fileno())

    def recover(self, root: Path) -> Sequence[Item]:
        return list((root / "log").read_bytes())


class CompactedAtTheEnd(_System):
    """A log that is durable, and after the last acknowledgement is removed in favour of a table that is not."""

    def prepare(self, root: Path) -> None:
        settled(root / "log", b"")

    def workload(self, root: Path, journal: Journal) -> None:
        super().workload(root, journal)
        (root / "1.table").write_bytes((root / "log").read_bytes())
        (root / "log").unlink()
        sync(root)

    def put(self, root: Path, item: int) -> None:
        with (root / "log").open("ab") as file:
            file.write(b"%d\n" % item)
            file.flush()
            os.fsync(file.fileno())

    def recover(self, root: Path) -> Sequence[Item]:
        lines = {line for path in root.iterdir() for line in path.read_bytes().split() if line.isdigit()}
        return sorted(map(int, lines))


class ValuesUnsynced(_System):
    """Writes each value to a file that it does not sync, and then where the value lies to an index, which it syncs."""

    def prepare(self, root: Path) -> None:
        for name in ("values", "index"):
            settled(root / name, b"")

    def put(self, root: Path, item: int) -> None:
        for name, content in (("values", b"%d\n" % item), ("index", b"%d" % item)):
            with (root / name).open("ab") as file:
                file.write(content)
                file.flush()
                if name == "index":
                    os.fsync(file.fileno())
        sync(root / "values")

    def recover(self, root: Path) -> Sequence[Item]:
        values = [int(line) for line in (root / "values").read_bytes().split(b"\n")[:-1]]
        return [values[place] for place in range((root / "index").stat().st_size)]


class TwoSteps(_System):
    """Makes each item durable in two files, one after the other; before, it notes in a third one what nobody needs."""

    def prepare(self, root: Path) -> None:
        for name in ("notes", "one", "other"):
            settled(root / name, b"")

    def put(self, root: Path, item: int) -> None:
        for name in ("notes", "one", "other"):
            with (root / name).open("ab") as file:
                file.write(b"%d\n" % item)
                file.flush()
                if name != "notes":
                    os.fsync(file.fileno())

    def recover(self, root: Path) -> Sequence[Item]:
        one, other = ((root / name).read_bytes() for name in ("one", "other"))
        if one != other:
            raise ValueError("the files differ")
        return [int(line) for line in one.split()]


class RandomNames(_System):
    """Replaces a file by one of a random name, and does not sync the folder."""

    contract = "latest"

    def workload(self, root: Path, journal: Journal) -> None:
        for item in ITEMS:
            with journal.attempt(["k", item]):
                self.put(root, item)

    def put(self, root: Path, item: int) -> None:
        descriptor, name = tempfile.mkstemp(dir=root)
        with os.fdopen(descriptor, "w") as file:
            file.write(str(item))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(root / "k")

    def recover(self, root: Path) -> Sequence[Item]:
        return [["k", int((root / "k").read_text())]] if (root / "k").exists() else []


def replace_unsynced(root: Path, item: int) -> None:
    """Replace a file by one that is not synced; the folder is."""
    (root / "new").write_text(str(item))
    (root / "new").replace(root / "k")
    sync(root)


class ByOtherProcesses(RandomNames):
    """Each item is stored by a process of its own, which does not sync the file before its rename."""

    def put(self, root: Path, item: int) -> None:
        process = get_context("fork").Process(target=replace_unsynced, args=(root, item))
        process.start()
        process.join()


class UnsyncedAndCounted(_System):
    """Wrong: items are acknowledged unsynced. Recovery notes durably how many it found, and refuses fewer."""

    def put(self, root: Path, item: int) -> None:
        settled(root / "due", b"%d" % item)
        with (root / "data").open("a") as file:
            file.write(f"{item}".ljust(4096) + "\n")

    def recover(self, root: Path) -> Sequence[Item]:
        path, found = root / "data", root / "found"
        items = [int(line) for line in path.read_text().replace("\0", "").split()] if path.exists() else []
        if found.exists() and int(found.read_text() or 0) > len(items):
            raise ValueError(f"{found.read_text()} items were found before, {len(items)} now")
        if items:
            settled(found, b"%d" % len(items))
        return items


class WrittenBackOnly(_System):
    """Wrong: sync_file_range writes each item to the disk, and makes neither the size of the file nor its blocks durable."""

    ALLOCATED = 0

    def workload(self, root: Path, journal: Journal) -> None:
        settled(root / "data", b"")
        with (root / "data").open("r+b") as self.file:
            if self.ALLOCATED:
                os.posix_fallocate(self.file.fileno(), 0, self.ALLOCATED)
                os.fsync(self.file.fileno())
            super().workload(root, journal)

    def put(self, root: Path, item: int) -> None:
        os.pwrite(self.file.fileno(), b"%d" % item + b"x" * 4095, 4096 * (item - 1))
        start_writeback(self.file.fileno(), 4096 * (item - 1), 4096)

    def recover(self, root: Path) -> Sequence[Item]:
        path = root / "data"
        data = path.read_bytes() if path.exists() else b""
        return [int(data[at : at + 1]) for at in range(0, len(data), 4096) if data[at]]


class WrittenBackOnlyAhead(WrittenBackOnly):
    """The same, in blocks that were allocated ahead, whose use is not durable."""

    ALLOCATED = 4 * 4096
