"""Snapshots: what a SIGKILL at this instant would leave, taken without killing.

A SIGKILL preserves everything already passed to the kernel: the content of the folder, and of the journal, at that instant.
So the process stops itself and all its threads at a failpoint (SIGSTOP), the folder is read, and the process continues. One
run of a workload therefore yields the crashed folder of every hit. `tree` says what belongs to a folder, and `restoring`
lays it out again. Reading changes nothing that the program could see, not even a time of access.

A system with `failpoints_suffice` stops itself only. So two things are not covered there: a kill inside another thread's write
system call, which the kernel may cut short at a page; and processes that the system started itself. In any other system, all
processes are stopped (`ProcessTree.frozen`), and such a write is looked at page by page (`long_writes`). Files are stored by
content, so a thousand snapshots of a folder that changes little take little space.

The folder belongs to a program that may do anything with it. So it is read and laid out through descriptors, which follow no
link and enter no mount (`linux.folders`). A path that is no longer a folder is a kind of tree of its own, which is never laid
out.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from crashmatrix.faults.disk.linux.folders import Cursor, NotAFolder, open_below, opened_folder
from crashmatrix.faults.disk.linux.metadata import birth_ns
from crashmatrix.scenarios.judging.snapshots.metadata import attributes_of, kind_of_mode
from crashmatrix.scenarios.judging.snapshots.restoring import lay_out
from crashmatrix.scenarios.judging.snapshots.seen import Seen
from crashmatrix.scenarios.judging.snapshots.sparse import copy_content, look_at
from crashmatrix.scenarios.judging.snapshots.tree import (
    DIRECTORY,
    FILE,
    LINK,
    REPLACED,
    ROOT,
    UNREADABLE,
    Entry,
    Tree,
    joined,
)

__all__ = ["SnapshotStore"]

Extents = tuple[tuple[int, int], ...]

_READ = os.O_RDONLY | os.O_NONBLOCK
"""How a file is opened: a FIFO that has taken a file's place is not waited for."""


class SnapshotStore:
    """Keeps snapshots under ``scratch``, or with ``keep=False`` only their digests. Thread-safe.

    ``names`` is how many of the last names of a folder's path are ours, and so must be plain folders on one mount.
    """

    def __init__(self, scratch: Path, *, keep: bool = True, names: int = 1) -> None:
        self._keep_contents, self._names = keep, names
        self._blobs = scratch / "blobs"
        self._blobs.mkdir()
        self._known: set[str] = set()
        self._seen = Seen()
        self._lock = threading.Lock()

    def capture(self, root: Path, names: int | None = None) -> Tree:
        """Snapshot the folder; nobody must be writing to it (see `frozen`). One that is gone is an empty tree.

        No link is followed and no mount entered: what that leads to is not the folder's. `Tree.unusable` says so.
        ``names`` is as in the constructor, where the folder is seen elsewhere.

        Raises:
            OSError: it cannot be read.
        """
        try:
            with opened_folder(root, self._names if names is None else names) as folder:
                return self._capture(folder, root)
        except FileNotFoundError:
            return Tree(())
        except NotAFolder as error:
            return _unusable(REPLACED, f"the folder under test was replaced by {error.what}")

    def _capture(self, folder: int, root: Path) -> Tree:
        with Cursor(folder) as cursor:
            try:
                return _Capture(cursor, self._keep, self._seen).tree()
            except (NotAFolder, PermissionError) as error:
                name = "/".join((*cursor.names, str(error.filename).rpartition("/")[2]))
                why = f"{error.what} is in it" if isinstance(error, NotAFolder) else error.strerror
                return _unusable(UNREADABLE, f"the folder under test cannot be copied: {why}, at {name!r}")
            except OSError as error:  # Calls on descriptors name no path; add it.
                name = error.filename if isinstance(error.filename, str) else ""
                raise OSError(error.errno, error.strerror, str(root.joinpath(*cursor.names, name))) from error

    def _keep(self, descriptor: int, state: os.stat_result) -> tuple[str, Extents]:
        """Store an open file's content, unless it is known; returns its digest, and the ranges that are not holes."""
        digest, extents = self._seen.content(descriptor, state)
        if not self._keep_contents or digest in self._known:
            return digest, extents
        with self._lock:
            if digest not in self._known:
                with open(self._blobs / digest, "wb", buffering=0) as blob:
                    copy_content(descriptor, blob.fileno())
                self._known.add(digest)
        return digest, extents

    def path(self, digest: str) -> Path:
        """Where the content of a file lies, by its digest, if contents are kept."""
        return self._blobs / digest

    def content(self, digest: str) -> bytes:
        """The content of a file by its digest, if contents are kept."""
        return self.path(digest).read_bytes()

    def fetch(self, digest: str, get: Callable[[str, Path], bool]) -> bool:
        """Have a content that another run has kept, unless it is known; returns whether it is here and has this digest.

        Args:
            get: puts a content, by its digest, at a new path; returns whether it could.
        """
        with self._lock:
            if digest in self._known:
                return True
            path = self._blobs / f"{digest}.new"
            if Path(digest).name != digest or not get(digest, path):
                return False
            with open(path, "rb", buffering=0) as blob:
                found, _ = look_at(blob.fileno(), os.fstat(blob.fileno()).st_size)
            if found != digest:
                path.unlink()
                return False
            path.rename(self._blobs / digest)
            self._known.add(digest)
        return True

    def restore(self, tree: Tree, root: Path) -> None:
        """Lay the folder out at ``root``, which must not exist or be an empty folder; see `restoring`. Raises OSError.

        Raises:
            ScenarioError: the tree is none that can be laid out.
        """
        lay_out(tree, root, self._blobs)


def _unusable(kind: str, text: str) -> Tree:
    return Tree((("", Entry(kind, 0, text)),))


class _Capture:
    """One look at a folder, from the cursor's place on. A file with several names is read once."""

    def __init__(self, cursor: Cursor, keep: Callable[[int, os.stat_result], tuple[str, Extents]], seen: Seen) -> None:
        self._cursor, self._keep, self._seen = cursor, keep, seen
        self._found: list[tuple[str, Entry]] = []
        self._links: dict[tuple[int, int], dict[str, Entry]] = {}
        """By inode, for files that have more than one name: path to entry."""

    def tree(self) -> Tree:
        """Read it all. Raises OSError."""
        self._walk()
        return joined(self._found, self._links.values())

    def _walk(self) -> None:
        """Find what there is; one loop, since a folder may be deeper than Python's stack."""
        cursor = self._cursor
        self._found.append((ROOT, self._folder()))
        folders = [self._look()]
        while True:
            if folders[-1]:
                cursor.down(folders[-1].pop())
                self._found.append(("/".join(cursor.names), self._folder()))
                folders.append(self._look())
            elif cursor.names:
                folders.pop()
                cursor.up()
            else:
                return

    def _folder(self) -> Entry:
        """The folder the cursor is in."""
        descriptor = self._cursor.descriptor
        return self._seen.entry(DIRECTORY, self._cursor.state, "", attributes_of(descriptor), birth_ns(descriptor))

    def _look(self) -> list[str]:
        """Find what is in the folder the cursor is in, but for folders, whose names are returned."""
        folders = list[str]()
        prefix = "".join(f"{name}/" for name in self._cursor.names)
        with os.scandir(self._cursor.descriptor) as found:
            for item in found:
                state = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(state.st_mode):
                    folders.append(item.name)
                elif state.st_nlink > 1:
                    self._found.append((prefix + item.name, self._linked(prefix + item.name, item.name, state)))
                else:
                    self._found.append((prefix + item.name, self._read(item.name, state)))
        return folders

    def _linked(self, path: str, name: str, state: os.stat_result) -> Entry:
        known = self._links.setdefault((state.st_dev, state.st_ino), {})
        known[path] = next(iter(known.values())) if known else self._read(name, state)
        return known[path]

    def _read(self, name: str, state: os.stat_result) -> Entry:
        """Read one entry that is not a folder."""
        folder = self._cursor.descriptor
        if stat.S_ISREG(state.st_mode):
            return self._file(folder, name, state)
        kind, content = kind_of_mode(state.st_mode), ""
        if kind == LINK:
            content = os.readlink(name, dir_fd=folder)
        elif kind.endswith("device"):
            content = f"{os.major(state.st_rdev)}:{os.minor(state.st_rdev)}"
        return self._seen.entry(kind, state, content, attributes_of(folder, name), birth_ns(folder, name))

    def _file(self, folder: int, name: str, state: os.stat_result) -> Entry:
        descriptor = open_below(folder, name, _READ)
        try:
            opened = os.fstat(descriptor)
            if not stat.S_ISREG(opened.st_mode):
                raise OSError(errno.ESTALE, "replaced meanwhile", name)
            digest, extents = self._keep(descriptor, opened)
            return self._seen.entry(FILE, state, digest, attributes_of(descriptor), birth_ns(descriptor), extents)
        finally:
            os.close(descriptor)
