"""Photographs: what a SIGKILL at this instant would leave, taken without killing.

A SIGKILL leaves exactly what the kernel had been handed: the folder's content at that instant (and the journal's). So the
process stops itself at a failpoint by SIGSTOP, all its threads with it, the folder is read, and the process goes on. One run
of a workload so yields the crashed folder of every hit.

What this does not cover: a kill that lands inside another thread's write system call, which the kernel may cut short at a
page; and processes the system started itself, which are not stopped. Files are kept by content, so a thousand photographs
of a folder in which little changes cost little.
"""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scenarios.errors import ScenarioError
from scenarios.processes import HeldProcess
from scenarios.sparse import content_digest, copy_content

__all__ = ["Album", "Entry", "Tree", "frozen", "is_stopped", "stop_here"]

_STOP_SECONDS_MAX = 10.0
_STOP_POLL_SECONDS = 0.00005


@dataclass(frozen=True)
class Entry:
    """A file (``content`` is its digest), directory (empty) or symbolic link (its target), with its permission bits."""

    kind: str
    mode: int
    content: str


@dataclass(frozen=True)
class Tree:
    """A folder's content: relative path to entry."""

    entries: tuple[tuple[str, Entry], ...]

    @cached_property
    def digest(self) -> str:
        """Equal for equal folders, and for no others."""
        text = repr(self.entries).encode()
        return hashlib.blake2b(text, digest_size=12).hexdigest()

    def difference(self, other: Tree) -> list[str]:
        """Return the paths at which two folders differ, sorted."""
        mine, theirs = dict(self.entries), dict(other.entries)
        return sorted(path for path in mine.keys() | theirs.keys() if mine.get(path) != theirs.get(path))


class Album:
    """Keeps photographs under ``scratch``, or with ``keep=False`` only their digests. Thread-safe."""

    def __init__(self, scratch: Path, *, keep: bool = True) -> None:
        self._keep_contents = keep
        self._blobs = scratch / "blobs"
        self._blobs.mkdir()
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def capture(self, root: Path) -> Tree:
        """Photograph the folder; nobody must be writing to it (see `frozen`). One that is gone looks like an empty one."""
        if not root.is_dir():
            return Tree(())
        return Tree(tuple(sorted(self._walk(str(root), ""))))

    def _walk(self, directory: str, prefix: str) -> Iterator[tuple[str, Entry]]:
        with os.scandir(directory) as found:
            for item in found:
                path = prefix + item.name
                mode = stat.S_IMODE(item.stat(follow_symlinks=False).st_mode)
                if item.is_symlink():
                    yield path, Entry("link", mode, str(Path(item.path).readlink()))
                elif item.is_dir():
                    yield path, Entry("directory", mode, "")
                    yield from self._walk(item.path, path + "/")
                elif item.is_file():
                    yield path, Entry("file", mode, self._keep(item.path))

    def _keep(self, path: str) -> str:
        with open(path, "rb", buffering=0) as file:
            digest = content_digest(file.fileno())
            with self._lock:
                if self._keep_contents and digest not in self._known:
                    with open(self._blobs / digest, "wb", buffering=0) as blob:
                        copy_content(file.fileno(), blob.fileno())
                    self._known.add(digest)
        return digest

    def restore(self, tree: Tree, root: Path) -> None:
        """Lay the folder out at ``root``, which must not exist or be empty."""
        root.mkdir(parents=True, exist_ok=True)
        for path, entry in tree.entries:
            place = root / path
            if entry.kind == "directory":
                place.mkdir()
            elif entry.kind == "link":
                place.symlink_to(entry.content)
            else:
                with (
                    open(self._blobs / entry.content, "rb", buffering=0) as blob,
                    open(place, "xb", buffering=0) as file,
                ):
                    copy_content(blob.fileno(), file.fileno())
                place.chmod(entry.mode)
        for path, entry in reversed(tree.entries):
            if entry.kind == "directory":
                (root / path).chmod(entry.mode)


@contextmanager
def frozen(process: HeldProcess) -> Iterator[None]:
    """Wait until a process, which is stopping itself, has stopped, every thread of it; let it go on after the block.

    Raises:
        ScenarioError: it does not stop.
        ProcessLookupError: it is gone.
    """
    try:
        deadline = time.monotonic() + _STOP_SECONDS_MAX
        while not is_stopped(process.pid):
            if time.monotonic() > deadline:
                raise ScenarioError(f"process {process.pid} did not stop within {_STOP_SECONDS_MAX:.0f} s")
            time.sleep(_STOP_POLL_SECONDS)
        if not process.runs():  # Its number was looked at, which another process may have by now.
            raise ProcessLookupError(process.pid)
        yield
    finally:
        process.send(signal.SIGCONT)


def stop_here() -> None:
    """Stop this process, with all its threads, until somebody lets it go on."""
    # Sent to this very thread: of a signal to the process it would hear later, and go on for a moment.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def is_stopped(pid: int, *, but: int = 0) -> bool:
    """Return whether every thread of a process has stopped, but for one perhaps. Raises ProcessLookupError if it is gone."""
    try:
        threads = _threads(pid)
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    try:
        if threads == [str(but)]:
            return True
        states = {_state(f"/proc/{pid}/task/{thread}/stat") for thread in threads if thread != str(but)}
        if states <= set("ZX"):  # Dead, though its parent has not looked yet.
            raise ProcessLookupError(pid)
        return states <= set("TtZX") and _threads(pid) == threads
    except FileNotFoundError:
        return False  # A thread ended meanwhile.


def _threads(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/task")  # noqa: PTH208  # names only


def _state(stat_path: str) -> str:
    """Return the letter of a thread's state. Raises FileNotFoundError if the thread is gone."""
    try:
        with open(stat_path, "rb") as file:
            return file.read().rpartition(b") ")[2][:1].decode()
    except ProcessLookupError:  # gone between opening and reading
        raise FileNotFoundError(stat_path) from None
