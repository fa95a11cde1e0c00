"""Snapshots: what a SIGKILL at this instant would leave, taken without killing.

A SIGKILL preserves everything already passed to the kernel: the content of the folder, and of the journal, at that instant.
So the process stops itself and all its threads at a failpoint (SIGSTOP), the folder is read, and the process continues. One
run of a workload therefore yields the crashed folder of every hit.

Not covered: a kill inside another thread's write system call, which the kernel may cut short at a page; and processes that
the system started itself, which are not stopped. Files are stored by content, so a thousand snapshots of a folder that
changes little take little space.

The folder belongs to a program that may do anything with it. So it is read and laid out through descriptors, which follow no
link and enter no mount (`linux.folders`). A path that is no longer a folder is a kind of tree of its own, which is never laid
out.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from crashmatrix.faults.disk.linux.folders import Cursor, NotAFolder, open_below, opened_folder
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.judging.sparse import content_digest, copy_content

__all__ = ["Entry", "SnapshotStore", "Tree"]

_REPLACED, _UNREADABLE = "replaced", "unreadable"
"""Kinds of the one entry, without a name, of a tree that cannot be laid out; its content says why."""


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
    def unusable(self) -> tuple[Verdict, str] | None:
        """The verdict on a folder that cannot be laid out again, and why; None of any other.

        One that was replaced cannot be opened by anybody. One with a mount in it, or a file that this user may not read, could
        be: it is unknown what would come of that.
        """
        kind, text = (self.entries[0][1].kind, self.entries[0][1].content) if self.entries else ("", "")
        verdict = {_REPLACED: Verdict.CANNOT_OPEN, _UNREADABLE: Verdict.UNKNOWN}.get(kind)
        return (verdict, text) if verdict else None

    @cached_property
    def digest(self) -> str:
        """Equal for equal folders, and for no others."""
        text = repr(self.entries).encode()
        return hashlib.blake2b(text, digest_size=12).hexdigest()

    def difference(self, other: Tree) -> list[str]:
        """Return the paths at which two folders differ, sorted."""
        mine, theirs = dict(self.entries), dict(other.entries)
        return sorted(path for path in mine.keys() | theirs.keys() if mine.get(path) != theirs.get(path))


class SnapshotStore:
    """Keeps snapshots under ``scratch``, or with ``keep=False`` only their digests. Thread-safe.

    ``names`` is how many of the last names of a folder's path are ours, and so must be plain folders on one mount.
    """

    def __init__(self, scratch: Path, *, keep: bool = True, names: int = 1) -> None:
        self._keep_contents, self._names = keep, names
        self._blobs = scratch / "blobs"
        self._blobs.mkdir()
        self._known: set[str] = set()
        self._lock = threading.Lock()

    def capture(self, root: Path, names: int | None = None) -> Tree:
        """Snapshot the folder; nobody must be writing to it (see `frozen`). One that is gone looks like an empty one.

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
            return Tree((("", Entry(_REPLACED, 0, f"the folder under test was replaced by {error.what}")),))

    def _capture(self, folder: int, root: Path) -> Tree:
        with Cursor(folder) as cursor:
            try:
                return Tree(tuple(sorted(self._walk(cursor))))
            except (NotAFolder, PermissionError) as error:
                name = "/".join((*cursor.names, str(error.filename).rpartition("/")[2]))
                why = f"{error.what} is in it" if isinstance(error, NotAFolder) else error.strerror
                text = f"the folder under test cannot be copied: {why}, at {name!r}"
                return Tree((("", Entry(_UNREADABLE, 0, text)),))
            except OSError as error:  # Calls on descriptors name no path; add it.
                name = error.filename if isinstance(error.filename, str) else ""
                raise OSError(error.errno, error.strerror, str(root.joinpath(*cursor.names, name))) from error

    def _walk(self, cursor: Cursor) -> Iterator[tuple[str, Entry]]:
        """Yield what there is; one loop, since a folder may be deeper than Python's stack."""
        folders: list[list[str]] = [[]]
        yield from self._look(cursor, folders[-1])
        while True:
            if folders[-1]:
                cursor.down(folders[-1].pop())
                folders.append([])
                yield from self._look(cursor, folders[-1])
            elif cursor.names:
                folders.pop()
                cursor.up()
            else:
                return

    def _look(self, cursor: Cursor, folders: list[str]) -> Iterator[tuple[str, Entry]]:
        """Yield what is in the folder the cursor is in, and note the names of the folders in it."""
        prefix = "".join(f"{name}/" for name in cursor.names)
        with os.scandir(cursor.descriptor) as found:
            for item in found:
                mode = stat.S_IMODE(item.stat(follow_symlinks=False).st_mode)
                if item.is_symlink():
                    target = os.readlink(item.name, dir_fd=cursor.descriptor)
                    yield prefix + item.name, Entry("link", mode, target)
                elif item.is_dir(follow_symlinks=False):
                    yield prefix + item.name, Entry("directory", mode, "")
                    folders.append(item.name)
                elif item.is_file(follow_symlinks=False):
                    yield prefix + item.name, Entry("file", mode, self._keep(cursor.descriptor, item.name))

    def _keep(self, folder: int, name: str) -> str:
        descriptor = open_below(folder, name, os.O_RDONLY)
        try:
            digest = content_digest(descriptor)
            with self._lock:
                if self._keep_contents and digest not in self._known:
                    with open(self._blobs / digest, "wb", buffering=0) as blob:
                        copy_content(descriptor, blob.fileno())
                    self._known.add(digest)
        finally:
            os.close(descriptor)
        return digest

    def restore(self, tree: Tree, root: Path) -> None:
        """Lay the folder out at ``root``, which must not exist or be an empty folder. Raises OSError.

        Raises:
            ScenarioError: the tree is none that can be laid out.
        """
        if tree.unusable:
            raise ScenarioError(tree.unusable[1])
        root.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            root.mkdir()
        with opened_folder(root.parent.resolve() / root.name) as folder, Cursor(folder) as cursor:
            # Sorted by the parts of the path, not by its text, so the entries of one folder are neighbours.
            entries = sorted((path.split("/"), entry) for path, entry in tree.entries)
            for (*above, name), entry in entries:
                cursor.go(above)
                self._lay_out(cursor.descriptor, name, entry)
            for (*above, name), entry in reversed(entries):
                if entry.kind == "directory":
                    cursor.go(above)
                    os.chmod(name, entry.mode, dir_fd=cursor.descriptor)

    def _lay_out(self, folder: int, name: str, entry: Entry) -> None:
        if entry.kind == "directory":
            os.mkdir(name, dir_fd=folder)
        elif entry.kind == "link":
            os.symlink(entry.content, name, dir_fd=folder)
        else:
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
            try:
                with open(self._blobs / entry.content, "rb", buffering=0) as blob:
                    copy_content(blob.fileno(), descriptor)
                os.fchmod(descriptor, entry.mode)
            finally:
                os.close(descriptor)
