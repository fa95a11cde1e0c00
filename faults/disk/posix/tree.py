"""The tree of files that a crash state leaves; and how it becomes real files."""

import os
import stat
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Generic, TypeVar

from crashmatrix.faults.disk.posix.content import EMPTY, Content
from crashmatrix.faults.disk.state import CrashState, Tear, pieces_of
from crashmatrix.faults.disk.trace.operations import ROOT, Change, Data, Names, Node, Size
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["Tree", "Trees", "lay_out"]

_REMEMBERED_PAGES_MOST = 500_000

Value = TypeVar("Value")


@dataclass(frozen=True)
class Tree:
    """Everything reachable from the directory under test: path, node and, for a file, content; directories first."""

    entries: tuple[tuple[bytes, Node, Content], ...]

    @cached_property
    def digest(self) -> int:
        """128 bits that are equal for equal trees only: paths, types, permissions, contents, and hard links."""
        digest, first = blake2b(digest_size=16), dict[int, int]()
        for number, (path, node, content) in enumerate(self.entries):
            same = first.setdefault(node.inode, number)
            digest.update(b"%s\0%d %d %d %x %s\0" % (path, node.mode, same, content.size, content.digest, node.target))
        return int.from_bytes(digest.digest(), "little")


class _Versions(Generic[Value]):
    """The durable values of each object of a trace, each with the position from which it holds."""

    def __init__(self, first: Value) -> None:
        self._first = first
        self._positions: defaultdict[int, list[int]] = defaultdict(list)
        self._values: defaultdict[int, list[Value]] = defaultdict(list)

    def put(self, object_: int, position: int, value: Value) -> None:
        self._positions[object_].append(position)
        self._values[object_].append(value)

    def before(self, object_: int, cut: int) -> Value:
        number = bisect_left(self._positions.get(object_, ()), cut)
        return self._values[object_][number - 1] if number else self._first


class Trees:
    """The trees of a trace's crash states."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._nodes = {ROOT: Node(ROOT, stat.S_IFDIR | 0o755)}
        self._nodes |= {node.inode: node for node in trace.operations if isinstance(node, Node)}
        self._names = _Versions[Mapping[bytes, int]]({})
        self._contents = _Versions(EMPTY)
        self._laid: dict[tuple[int, ...], Content] = {}
        self._laid_pages = 0
        self._last: tuple[CrashState, Tree] | None = None
        self._settle()

    def _settle(self) -> None:
        """Go through the syncs and the changes that each made durable."""
        settled: defaultdict[int, list[int]] = defaultdict(list)
        for position, operation in enumerate(self._trace.operations):
            if isinstance(operation, Change):
                settled[self._trace.durability.at[position]].append(position)
        for sync in sorted(settled):
            names, contents = self._laid_over(settled[sync], {}, sync)
            for folder, entries in names.items():
                self._names.put(folder, sync, entries)
            for inode, content in contents.items():
                self._contents.put(inode, sync, content)

    def of(self, state: CrashState) -> Tree:
        """The tree that is left in this state."""
        if self._last is None or self._last[0] != state:
            pending = self._trace.pending(state.cut)
            kept = [position for index, position in enumerate(pending) if state.kept >> index & 1]
            torn = {pending[tear.write]: tear for tear in state.tears}
            names, contents = self._laid_over(self._with_those_before(kept, state.cut), torn, state.cut)
            self._last = state, Tree(tuple(self._walk(state.cut, names, contents)))
        return self._last[1]

    def _with_those_before(self, kept: list[int], cut: int) -> list[int]:
        """These changes, and the pending ones that must have come before them (see crashmatrix.faults.disk.trace.durability)."""
        durability, every, going = self._trace.durability, set(kept), list(kept)
        while going:
            for before in durability.along.get(going.pop(), ()):
                if before not in every and durability.at[before] >= cut:
                    every.add(before)
                    going.append(before)
        return sorted(every)

    def _laid_over(
        self, changes: list[int], torn: Mapping[int, Tear], cut: int
    ) -> tuple[dict[int, dict[bytes, int]], dict[int, Content]]:
        """Apply these changes, in order, to what was durable before the cut; return the directories and files that change."""
        names: dict[int, dict[bytes, int]] = {}
        of_file: defaultdict[int, list[int]] = defaultdict(list)
        for position in changes:
            match self._trace.operations[position]:
                case Names(entries):
                    for folder, name, inode in entries:
                        now = names.setdefault(folder, dict(self._names.before(folder, cut)))
                        now.pop(name, None)
                        if inode:
                            now[name] = inode
                case Data(inode) | Size(inode):
                    of_file[inode].append(position)
        return names, {inode: self._content(inode, of_file[inode], torn, cut) for inode in of_file}

    def _content(self, inode: int, changes: list[int], torn: Mapping[int, Tear], cut: int) -> Content:
        content = self._contents.before(inode, cut)
        key = (inode, content.size, content.digest, *changes)
        tears = [torn[position] for position in changes if position in torn]
        if not tears and key in self._laid:
            return self._laid[key]
        for position in changes:
            match self._trace.operations[position]:
                case Size(_, size):
                    content = content.resized(size)
                case Data() as data:
                    content = content.written(pieces_of(data, torn.get(position)))
        if not tears:
            self._remember(key, content)
        return content

    def _remember(self, key: tuple[int, ...], content: Content) -> None:
        """Keep a content: most states of a cut differ in one file only, and share the others' contents."""
        self._laid_pages += 1 + content.pages
        if self._laid_pages > _REMEMBERED_PAGES_MOST:
            self._laid.clear()
            self._laid_pages = 0
        self._laid[key] = content

    def _walk(
        self, cut: int, names: Mapping[int, Mapping[bytes, int]], contents: Mapping[int, Content]
    ) -> Iterator[tuple[bytes, Node, Content]]:
        folders = [(b"", ROOT)]
        while folders:
            prefix, folder = folders.pop()
            entries = names[folder] if folder in names else self._names.before(folder, cut)
            for name in sorted(entries):
                node = self._nodes[entries[name]]
                if stat.S_ISDIR(node.mode):
                    folders.append((prefix + name + b"/", node.inode))
                    yield prefix + name, node, EMPTY
                elif node.inode in contents:
                    yield prefix + name, node, contents[node.inode]
                else:
                    yield prefix + name, node, self._contents.before(node.inode, cut)


def lay_out(tree: Tree, root: Path) -> None:
    """Make the tree's files in an existing empty directory. Raises OSError."""
    made: dict[int, bytes] = {}
    umask = os.umask(0)
    try:
        for path, node, content in tree.entries:
            place = os.fsencode(root) + b"/" + path
            if node.inode in made:
                os.link(made[node.inode], place, follow_symlinks=False)
                continue
            _make(place, node, content)
            if not stat.S_ISDIR(node.mode):
                made[node.inode] = place
    finally:
        os.umask(umask)


def _make(place: bytes, node: Node, content: Content) -> None:
    mode = stat.S_IMODE(node.mode)
    if stat.S_ISDIR(node.mode):
        os.mkdir(place, mode)  # noqa: PTH102 -- a path of bytes
    elif stat.S_ISLNK(node.mode):
        os.symlink(node.target, place)  # noqa: PTH211 -- a path of bytes
    elif not stat.S_ISREG(node.mode):
        os.mknod(place, node.mode)
    else:
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            for offset, data in content.runs():
                os.pwrite(file, data, offset)
            os.ftruncate(file, content.size)
        finally:
            os.close(file)
