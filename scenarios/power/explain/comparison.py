"""The changes that a crashed folder lacks, by comparison with the calls of another run of the same workload.

1. the cut in the calls is right after the same notes; or later, after the last change before the next note that the folder
   shows: a name that is there, gone, or leads to another content; a size, or bytes, that no file had before
2. each change that no sync had made durable by then is looked for in the folder
3. a name with a time in it, or drawn at random, is another one in each run: it is looked for under the name that its file has at
   the orderly end of the other run, else under the one name there that begins and ends alike
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType

from crashmatrix.faults.disk import CrashState, Note, Operation, Trace
from crashmatrix.faults.disk.posix.content import Content
from crashmatrix.faults.disk.posix.tree import Tree, Trees
from crashmatrix.faults.disk.trace.named import SIZE, Named
from crashmatrix.faults.disk.trace.operations import ACCESSED, MODIFIED, Attribute, Data, Entry, Names, Size
from crashmatrix.reports.temporary_names import as_pattern, paired_names, translated
from crashmatrix.scenarios.power.explain.unsynced import Lost, Missing, survivors, unsynced_at

__all__ = ["missing_from", "names_here"]

_OF_THE_CALL_NS = 60 * 10**9
"""A time that was set is that of the call if it is at most this far from it."""


def missing_from(
    root: Path, trace: Trace, notes: tuple[bytes, ...], names: Mapping[str, str] = MappingProxyType({})
) -> Lost | None:
    """Return the changes that a crashed folder lacks, by the names that it has for them.

    Args:
        root: the folder, as the filesystem gave it back.
        trace: of the same workload on the `posix` filesystem.
        names: as `names_here` returns them.

    Returns:
        None if that workload made other notes: then nothing is known.
    """
    cut = _cut_after(trace, notes)
    if cut is None:
        return None
    folder = _Folder(root, trace, names)
    cut = folder.furthest(cut)
    unsynced, last = unsynced_at(trace, cut), _last_names(trace, cut)
    missing = [each for each in unsynced if not folder.has(each, last, cut)]

    def here(some: Iterable[Missing]) -> tuple[Missing, ...]:
        return tuple(replace(each, named=_renamed(each.named, names)) for each in some)

    return Lost(here(missing), here(unsynced), here(survivors(trace, cut, missing)), cut)


def names_here(root: Path, trace: Trace) -> dict[str, str] | None:
    """Return how names of another run's files differ from those here, as `paired_names`; None if other files are there.

    Args:
        root: the folder at its run's orderly end.
        trace: of the other run, on the `posix` filesystem.
    """
    theirs = _Contents(Trees(trace).of(CrashState.whole(trace, len(trace.operations))))
    in_order = sorted(theirs.paths, key=theirs.paths.__getitem__)  # An inode made later has a higher number.
    return paired_names(
        {path: theirs.files[path] for path in in_order}, {path: _read(root / path) or b"" for path in _paths(root)}
    )


def _renamed(named: Named, names: Mapping[str, str]) -> Named:
    if not names:
        return named
    what = re.sub(r"[^\s/,]+", lambda word: names.get(word[0], word[0]), named.what)
    return replace(named, path=translated(named.path, names), now=translated(named.now, names), what=what)


class _Folder:
    """The crashed folder, beside the calls of another run."""

    def __init__(self, root: Path, trace: Trace, names: Mapping[str, str]) -> None:
        self._root, self._trace, self._trees, self._names = root, trace, Trees(trace), names
        self._tree = cache(lambda at: _Contents(self._trees.of(CrashState.whole(trace, at))))

    def furthest(self, cut: int) -> int:
        """Return the position after the last change, before the next note, that the folder shows; else the cut."""
        durable = _Contents(self._trees.of(CrashState(cut, 0, (), len(self._trace.pending(cut)))))
        shown = _Shown(self._read, (durable, self._tree(cut)))
        found, operations = cut, self._trace.operations
        for at in range(cut, self._trace.finish):
            match operations[at]:
                case Note():
                    break
                case Names(entries):
                    shown.named(entries, self._tree(at), self._tree(at + 1))
                    found = at + 1 if any(self._shows(entry, at, durable) for entry in entries) else found
                case Data() as change if shown.bytes_of(change):
                    found = at + 1
                case Size() as change if shown.size_of(change):
                    found = at + 1 + _is_growth_by(change, operations[at + 1])
        return found

    def has(self, each: Missing, last: dict[tuple[int, bytes], int], cut: int) -> bool:
        """Whether a change before the cut is there. One of something that was removed since can be missed by nobody."""
        named, contents = each.named, self._tree(cut).files
        match self._trace.operations[each.at]:
            case Names(entries) if named.now:
                folder = entries[-1][0]
                mine = [entry for entry in entries if entry[0] == folder and last[entry[:2]] == each.at]
                return all(self._leads(entry, each.at, cut) for entry in mine)
            case Data() | Size() if named.now in contents:
                return _holds(self._place(named.now), named, contents[named.now])
            case Attribute() as change if named.now and self._counts(change, each.at, cut):
                return _bears(self._place(named.now), change)
        return True

    def _counts(self, change: Attribute, at: int, cut: int) -> bool:
        """Whether the folder can show an attribute: nothing changed it since, and it is the same in each run.

        A time of access is not, since reading may change it; nor is a time that was set to that of the call.
        """
        later = [each for each in self._trace.operations[at + 1 : cut] if isinstance(each, Attribute | Data | Size)]
        mine = [each for each in later if each.inode == change.inode]
        if change.name == MODIFIED:
            return not mine and abs(int(change.value or 0) - self._trace.time_at(at)) > _OF_THE_CALL_NS
        return change.name != ACCESSED and not any(
            isinstance(each, Attribute) and each.name == change.name for each in mine
        )

    def _leads(self, entry: Entry, at: int, cut: int) -> bool:
        """Whether a name leads to what it should, or to nothing."""
        folder, name, inode = entry
        path = self._tree(cut).path(folder, name)
        there, old = self._place(path), self._tree(at).files.get(path)
        named_here = self._root / translated(path, self._names)
        if not inode and there != named_here:  # Another run's random name: is it this file at all?
            return _read(there) != old
        if not (inode and _is_there(there)):
            return _is_there(there) == bool(inode)
        new = self._tree(cut).of_inode.get(inode)
        return old is None or new is None or old == new or _read(there) != old

    def _shows(self, entry: Entry, at: int, durable: _Contents) -> bool:
        folder, name, inode = entry
        before, path = self._tree(at), self._tree(at).path(folder, name)
        if not path:
            return False
        there = self._place(path)
        if not inode:
            return path in durable.paths and not _is_there(there)
        if path in before.paths:
            new = before.of_inode.get(inode)
            return new is not None and new != before.files.get(path) and _read(there) == new
        return path not in durable.paths and _is_there(there)

    def _place(self, path: str) -> Path:
        """Where a path of the other run is here."""
        path = translated(path, self._names)
        here, pattern = self._root / path, as_pattern(path)
        if pattern == path or _is_there(here):
            return here
        alike = [each for each in self._paths if as_pattern(each) == pattern]
        return self._root / alike[0] if len(alike) == 1 else here

    def _read(self, path: str) -> bytes | None:
        return _read(self._place(path))

    @cached_property
    def _paths(self) -> list[str]:
        return _paths(self._root)


class _Contents:
    """A tree of the other run: its paths, and the contents of files, by path and by inode."""

    def __init__(self, tree: Tree) -> None:
        self.paths = {os.fsdecode(path): node.inode for path, node, _ in tree.entries}
        self.files = {os.fsdecode(path): _bytes(content) for path, _, content in tree.entries}
        self.of_inode = {node.inode: _bytes(content) for _, node, content in tree.entries}
        self._folders = {tree.root.inode: "", **{node.inode: f"{os.fsdecode(path)}/" for path, node, _ in tree.entries}}

    def path(self, folder: int, name: bytes) -> str:
        """The path of a name in a folder; empty if the folder is not there."""
        return self._folders[folder] + os.fsdecode(name) if folder in self._folders else ""


class _Shown:
    """Which sizes and bytes the folder has that no file had there before, neither durably nor as called for by then."""

    def __init__(self, read: Callable[[str], bytes | None], before: tuple[_Contents, ...]) -> None:
        self._read, self._before = cache(read), before
        self._names: dict[int, dict[str, None]] = {}
        self._had: dict[str, list[bytes]] = {}
        """The contents of files that a path has led to."""
        for contents in before:
            for path, inode in contents.paths.items():
                self._names.setdefault(inode, {})[path] = None
                self._had.setdefault(path, []).append(contents.files[path])

    def named(self, entries: Sequence[Entry], before: _Contents, after: _Contents) -> None:
        """Names changed."""
        for folder, name, inode in entries:
            path = after.path(folder, name)
            self._names.setdefault(inode, {})[path] = None
            if path in before.files:
                self._had.setdefault(path, []).append(before.files[path])

    def bytes_of(self, change: Data) -> bool:
        """Whether a file has the bytes of this change, and had others before."""
        place = slice(change.offset, change.offset + len(change.data))
        return self._is_new(change.inode, change.data, lambda content: content[place])

    def size_of(self, change: Size) -> bool:
        """Whether a file has this size, and had another one before."""
        return self._is_new(change.inode, change.size, len)

    def _is_new(self, inode: int, new: object, part: Callable[[bytes], object]) -> bool:
        own = [contents.of_inode[inode] for contents in self._before if inode in contents.of_inode]
        for path in self._names.get(inode, ()):
            there = self._read(path)
            if there is not None and part(there) == new:
                return all(part(content) != new for content in [*own, *self._had.get(path, ())])
        return False


def _is_growth_by(size: Size, change: Operation) -> bool:
    """Whether a size is that of a write, whose bytes come next: one call makes both."""
    return isinstance(change, Data) and (change.inode, change.offset + len(change.data)) == (size.inode, size.size)


def _cut_after(trace: Trace, notes: tuple[bytes, ...]) -> int | None:
    """The position right after the last of these notes; None if the trace does not begin with them."""
    position = trace.start
    left = list(notes)
    for at, operation in enumerate(trace.operations):
        if not left:
            break
        if isinstance(operation, Note):
            if operation.text != left.pop(0):
                return None
            position = at + 1
    return None if left else position


def _last_names(trace: Trace, cut: int) -> dict[tuple[int, bytes], int]:
    return {
        (folder, name): at
        for at, operation in enumerate(trace.operations[:cut])
        if isinstance(operation, Names)
        for folder, name, _ in operation.entries
    }


def _paths(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.rglob("*")]


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _holds(path: Path, named: Named, content: bytes) -> bool:
    """Whether a file has the content that a change should have left at its place."""
    found = _read(path)
    if found is None:
        return False
    if named.kind == SIZE:
        return len(found) >= min(named.stop, len(content))
    stop = min(named.stop, len(content))
    return found[named.start : stop] == content[named.start : stop]


def _bears(path: Path, change: Attribute) -> bool:
    """Whether a file has the attribute that a change gave it."""
    try:
        about = path.lstat()
        match change.name:
            case b"mode":
                return about.st_mode == int(change.value or 0)
            case b"owner":
                return b"%d %d" % (about.st_uid, about.st_gid) == change.value
            case b"modified":
                return about.st_mtime_ns == int(change.value or 0)
        return os.getxattr(path, change.name, follow_symlinks=False) == change.value
    except OSError as error:
        return error.errno == errno.ENODATA and change.value is None


def _bytes(content: Content) -> bytes:
    data = bytearray(content.size)
    for offset, page in content.runs():
        data[offset : offset + len(page)] = page
    return bytes(data[: content.size])
