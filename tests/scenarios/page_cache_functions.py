"""The job of `test_page_cache`: a sync of a file fails, the program handles that in one of many ways, and syncs again."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from crashmatrix.scenarios.processes.calls.call_faults import CallFault, FailingCalls
from crashmatrix.scenarios.processes.calls.page_cache import PAGE, PageCache
from crashmatrix.scenarios.processes.calls.system_calls import run_watched
from crashmatrix.scenarios.processes.jobs import Channel

OLD, NEW = b"a" * PAGE, b"b" * PAGE
_EXCHANGE = 2
_LIBC = ctypes.CDLL(None, use_errno=True)


class Store:
    """A file of two pages, of which the first is changed by a write."""

    def __init__(self, root: Path) -> None:
        self.root, self.fd = root, os.open(root / "log", os.O_RDWR)
        self.begin()

    def begin(self) -> None:
        """Do nothing more."""

    def store(self) -> None:
        os.pwrite(self.fd, NEW, 0)

    def handle(self) -> None:
        """Do nothing about the error."""

    def sync_again(self) -> None:
        os.fsync(self.fd)


class Writes(Store):
    """Writes the page again."""

    def handle(self) -> None:
        self.store()


class ByAChild(Store):
    """Has a child process do so."""

    def handle(self) -> None:
        in_a_child(self.store)


class ByAnotherName(Writes):
    """The name by which the file was opened is gone meanwhile."""

    def begin(self) -> None:
        os.link(self.root / "log", self.root / "name")
        self.fd = os.open(self.root / "name", os.O_RDWR)
        (self.root / "name").unlink()


class Exchanged(Store):
    """Writes the page again, after the file has changed names with another one."""

    def begin(self) -> None:
        (self.root / "other").write_bytes(OLD)
        names = (os.fsencode(self.root / name) for name in ("other", "log"))
        (one, other) = names
        assert _LIBC.renameat2(-100, one, -100, other, _EXCHANGE) == 0

    def handle(self) -> None:
        self.store()


class FromElsewhere(Store):
    """Has a second page that was written and synced before the file came here, and writes the first again."""

    def begin(self) -> None:
        outside = self.root.parent / "outside"
        outside.write_bytes(OLD + NEW)
        outside.rename(self.root / "log")
        self.fd = os.open(self.root / "log", os.O_RDWR)

    def handle(self) -> None:
        self.store()


class SyncedAsAWhole(Store):
    """Has a second page that sync(2) has written, and writes the first again."""

    def begin(self) -> None:
        os.pwrite(self.fd, NEW, PAGE)
        os.sync()

    def handle(self) -> None:
        self.store()


class SyncedAsAWholeOnly(SyncedAsAWhole):
    """The same, but it writes nothing again."""

    def handle(self) -> None:
        os.sync()


class Mapped(Store):
    """Stores to a mapping. It does nothing about the error, but we cannot know."""

    def begin(self) -> None:
        self.pages = mmap.mmap(self.fd, 2 * PAGE)

    def store(self) -> None:
        self.pages[:PAGE] = NEW


class MappedAgain(Mapped):
    """Stores to the mapping again."""

    def handle(self) -> None:
        self.store()


class MadeWritable(Mapped):
    """Has a mapping for reading only, makes it writable for each store, and stores again."""

    def begin(self) -> None:
        self.pages = mmap.mmap(self.fd, 2 * PAGE, prot=mmap.PROT_READ)
        _LIBC.mmap.restype = ctypes.c_void_p
        size = ctypes.c_size_t(2 * PAGE)
        self.address = _LIBC.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, self.fd, ctypes.c_long(0))

    def store(self) -> None:
        for protection in (mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ):
            assert _LIBC.mprotect(ctypes.c_void_p(self.address), ctypes.c_size_t(2 * PAGE), protection) == 0
            if protection & mmap.PROT_WRITE:
                ctypes.memmove(self.address, NEW, PAGE)

    def handle(self) -> None:
        self.store()


class MappedByAChild(MappedAgain):
    """Has a child map the file and store to it."""

    def begin(self) -> None:
        """Map nothing."""

    def store(self) -> None:
        in_a_child(lambda: (super(MappedByAChild, self).begin(), super(MappedByAChild, self).store()))


class MappedLater(Store):
    """Maps the file after the failure, and stores the page again."""

    def handle(self) -> None:
        mmap.mmap(self.fd, 2 * PAGE)[:PAGE] = NEW


class MappedToRead(Store):
    """Maps the file after the failure, and only reads it."""

    def handle(self) -> None:
        assert mmap.mmap(self.fd, 2 * PAGE, prot=mmap.PROT_READ)[:PAGE] == NEW


class MappedButWritten(Mapped):
    """Has the file mapped, but changes its page by a write."""

    def store(self) -> None:
        os.pwrite(self.fd, NEW, 0)


class OneOfEach(Mapped):
    """Changes the first page by a write, and the second by a store."""

    def store(self) -> None:
        os.pwrite(self.fd, NEW, 0)
        self.pages[PAGE:] = NEW


class OneOfEachAgain(OneOfEach):
    """The same, again."""

    def handle(self) -> None:
        self.store()


class AnotherDescriptor(Store):
    """Syncs by another descriptor that was open before: the kernel reports the error to it, too."""

    def begin(self) -> None:
        self.other = os.open(self.root / "log", os.O_RDWR)

    def sync_again(self) -> None:
        os.fsync(self.other)


class NewDescriptor(AnotherDescriptor):
    """Syncs by a descriptor that was opened after the failure: the kernel tells it nothing."""

    def begin(self) -> None:
        """Open none."""

    def handle(self) -> None:
        super().begin()


class CopiedDescriptor(AnotherDescriptor):
    """Syncs by a copy of the descriptor, which has heard of the error."""

    def begin(self) -> None:
        self.other = os.dup(self.fd)


class SyncedByAChild(Store):
    """Has a child sync again, by the descriptor that it inherits."""

    def sync_again(self) -> None:
        in_a_child(super().sync_again)


class Drops(Store):
    """Drops the pages, and would see what the disk has."""

    def handle(self) -> None:
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)


class ReadsPast(Store):
    """Opens the file past the page cache, and would see what the disk has."""

    def handle(self) -> None:
        with suppress(OSError):  # Not every filesystem has it.
            os.open(self.root / "log", os.O_RDONLY | os.O_DIRECT)


STORES: dict[str, type[Store]] = {
    store.__name__: store
    for store in (
        Store, Writes, ByAChild, ByAnotherName, Exchanged, FromElsewhere, SyncedAsAWhole, SyncedAsAWholeOnly, Mapped,
        MappedAgain, MadeWritable, MappedByAChild, MappedLater, MappedToRead, MappedButWritten, OneOfEach, OneOfEachAgain,
        AnotherDescriptor, NewDescriptor, CopiedDescriptor, SyncedByAChild, Drops, ReadsPast,
    )
}  # fmt: skip


def in_a_child(function: Callable[[], object]) -> None:
    child = os.fork()
    if child == 0:
        function()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def lost_pages(_: Channel, root: Path, name: str) -> str:
    """Run a store whose first sync fails; returns the pages of its file once the cache is dropped, if any is lost."""
    (root / "log").write_bytes(OLD * 2)

    def body() -> None:
        store = STORES[name](root)
        store.store()
        try:
            os.fsync(store.fd)
        except OSError:
            store.handle()
            store.sync_again()
            return
        raise AssertionError("nothing failed")

    failing = FailingCalls([CallFault.parse("fsync@1~EIO~once")], PageCache(root))
    assert run_watched(body, root=root, journal=None, failpoints=(), at=lambda *_: None, failing=failing) == 0
    assert failing.cache
    return "".join(
        chr(content[at]) for content in failing.cache.dropped().values() for at in range(0, len(content), PAGE)
    )
