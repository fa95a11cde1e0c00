"""The tree of files that a crash state leaves; `layout` makes it real files.

A file's time is that of the last change of it that is left: to its content, a directory's names, or the time itself.
"""

import stat
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Generic, TypeVar

from crashmatrix.faults.disk.posix.content import EMPTY, Content
from crashmatrix.faults.disk.state import CrashState, Tear, pieces_of, tears_by_change
from crashmatrix.faults.disk.trace.operations import (
    ACCESSED,
    MODE,
    MODIFIED,
    OWNER,
    ROOT,
    Attribute,
    Change,
    Data,
    Names,
    Node,
    Size,
)
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["Kept", "Tree", "Trees"]

_REMEMBERED_PAGES_MOST = 500_000

Value = TypeVar("Value")
Attributes = Mapping[bytes, bytes | None]
"""Those that were changed since the inode was made, None for one that was removed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An inode as a crash state leaves it. Times in nanoseconds, 0 if unknown; `set_ns` is one that a program set, else 0.

    The directory under test has no owner here until it is given to somebody: it is whoever's that lays it out.
    """

    inode: int
    mode: int
    target: bytes = b""
    owner: tuple[int, int] | None = None
    device: int = 0
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    modified_ns: int = 0
    accessed_ns: int = 0
    set_ns: int = 0


@dataclass(frozen=True)
class Tree:
    """Everything reachable from the directory under test, which is `root`: path, inode and, for a file, content.

    Directories come before what is in them.
    """

    entries: tuple[tuple[bytes, Kept, Content], ...]
    root: Kept = Kept(ROOT, stat.S_IFDIR | 0o755)

    @cached_property
    def digest(self) -> int:
        """128 bits that are equal for equal trees only: paths, types, contents, hard links, attributes, times that were set.

        Times that came with changes of content are in it by their order only, which tells the newest file.
        """
        digest, first = blake2b(digest_size=16), dict[int, int]()
        for number, (path, node, content) in enumerate([(b"", self.root, EMPTY), *self.entries]):
            same = first.setdefault(node.inode, number)
            digest.update(b"%s\0%d %d %d %x %s\0" % (path, node.mode, same, content.size, content.digest, node.target))
            more = (node.owner, node.device, node.attributes, node.set_ns, node.accessed_ns)
            digest.update(repr(more).encode())
        digest.update(repr(self._order()).encode())
        return int.from_bytes(digest.digest(), "little")

    def _order(self) -> list[int]:
        """The rank of each file's time among all of them."""
        times = [node.modified_ns for _, node, _ in self.entries if stat.S_ISREG(node.mode)]
        ranks = {time: rank for rank, time in enumerate(sorted(set(times)))}
        return [ranks[time] for time in times]


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


@dataclass
class _Over:
    """The directories and files that changes to a durable state change, each as it is then."""

    names: dict[int, dict[bytes, int]] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)
    attributes: dict[int, Attributes] = field(default_factory=dict)
    changed: dict[int, int] = field(default_factory=dict)

    def change(self, inode: int, position: int, before: int) -> None:
        """Note that an inode's time changes at a position, unless a later change is durable already."""
        self.changed[inode] = max(position, before)


class Trees:
    """The trees of a trace's crash states."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._nodes = {ROOT: Node(ROOT, stat.S_IFDIR | 0o755)}
        self._nodes |= {node.inode: node for node in trace.operations if isinstance(node, Node)}
        self._names = _Versions[Mapping[bytes, int]]({})
        self._contents = _Versions(EMPTY)
        self._attributes = _Versions[Attributes]({})
        self._changed = _Versions(-1)
        """For each inode, where the last change of its time is."""
        self._born = {node.inode: at for at, node in enumerate(trace.operations) if isinstance(node, Node)}
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
            over = self._laid_over(settled[sync], {}, sync)
            for folder, entries in over.names.items():
                self._names.put(folder, sync, entries)
            for inode, content in over.contents.items():
                self._contents.put(inode, sync, content)
            for inode, attributes in over.attributes.items():
                self._attributes.put(inode, sync, attributes)
            for inode, position in over.changed.items():
                self._changed.put(inode, sync, position)

    def of(self, state: CrashState) -> Tree:
        """The tree that is left in this state."""
        if self._last is None or self._last[0] != state:
            pending = self._trace.pending(state.cut)
            kept = [position for index, position in enumerate(pending) if state.kept >> index & 1]
            torn = {pending[index]: tears for index, tears in tears_by_change(state).items()}
            over = self._laid_over(self._with_those_before(kept, state.cut), torn, state.cut)
            entries = tuple(self._walk(state.cut, over.names, over))
            self._last = state, Tree(entries, self._kept(ROOT, state.cut, over))
        return self._last[1]

    def durable_content(self, inode: int, cut: int) -> Content:
        """A file's content that is durable at a cut."""
        return self._contents.before(inode, cut)

    def _with_those_before(self, kept: list[int], cut: int) -> list[int]:
        """These changes, and the pending ones that must have come before them (see crashmatrix.faults.disk.trace.durability)."""
        durability, every, going = self._trace.durability, set(kept), list(kept)
        while going:
            for before in durability.along.get(going.pop(), ()):
                if before not in every and durability.at[before] >= cut:
                    every.add(before)
                    going.append(before)
        return sorted(every)

    def _laid_over(self, changes: list[int], torn: Mapping[int, list[Tear]], cut: int) -> "_Over":
        """Apply these changes, in order, to what was durable before the cut; return what changes."""
        over = _Over()
        of_file: defaultdict[int, list[int]] = defaultdict(list)
        for position in changes:
            match self._trace.operations[position]:
                case Names(entries):
                    for folder, name, inode in entries:
                        now = over.names.setdefault(folder, dict(self._names.before(folder, cut)))
                        over.change(folder, position, self._changed.before(folder, cut))
                        now.pop(name, None)
                        if inode:
                            now[name] = inode
                case Data(inode) | Size(inode):
                    of_file[inode].append(position)
                    over.change(inode, position, self._changed.before(inode, cut))
                case Attribute(inode, name, value):
                    before = over.attributes.get(inode) or self._attributes.before(inode, cut)
                    over.attributes[inode] = {**before, name: value}
                    if name == MODIFIED:
                        over.change(inode, position, self._changed.before(inode, cut))
        over.contents = {inode: self._content(inode, of_file[inode], torn, cut) for inode in of_file}
        return over

    def _content(self, inode: int, changes: list[int], torn: Mapping[int, list[Tear]], cut: int) -> Content:
        content = self._contents.before(inode, cut)
        key = (inode, content.size, content.digest, *changes)
        tears = not torn.keys().isdisjoint(changes)
        if not tears and key in self._laid:
            return self._laid[key]
        for position in changes:
            match self._trace.operations[position]:
                case Size(_, size):
                    content = content.resized(size)
                case Data() as data:
                    content = content.written(pieces_of(data, torn.get(position, ())))
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

    def _kept(self, inode: int, cut: int, over: "_Over") -> Kept:
        """An inode with the attributes that are left of it."""
        node = self._nodes[inode]
        attributes = over.attributes.get(inode) or self._attributes.before(inode, cut)
        position = over.changed.get(inode, self._changed.before(inode, cut))
        position = self._born.get(inode, -1) if position < 0 else position
        modified, set_ns = self._trace.time_at(position) if position >= 0 else 0, 0
        owner = None if inode == ROOT else node.owner
        if not attributes and not modified:
            return Kept(inode, node.mode, node.target, owner, node.device)
        if position >= 0 and isinstance(change := self._trace.operations[position], Attribute):
            modified = set_ns = int(change.value or 0)
        if given := attributes.get(OWNER):
            user, group = given.split()
            owner = int(user), int(group)
        return Kept(
            inode, int(attributes.get(MODE) or node.mode), node.target, owner, node.device,
            tuple(sorted((name, value) for name, value in attributes.items() if b"." in name and value is not None)),
            modified, int(attributes.get(ACCESSED) or 0), set_ns,
        )  # fmt: skip

    def _walk(
        self, cut: int, names: Mapping[int, Mapping[bytes, int]], over: "_Over"
    ) -> Iterator[tuple[bytes, Kept, Content]]:
        folders = [(b"", ROOT)]
        while folders:
            prefix, folder = folders.pop()
            entries = names[folder] if folder in names else self._names.before(folder, cut)
            for name in sorted(entries):
                node = self._kept(entries[name], cut, over)
                if stat.S_ISDIR(node.mode):
                    folders.append((prefix + name + b"/", node.inode))
                    yield prefix + name, node, EMPTY
                elif node.inode in over.contents:
                    yield prefix + name, node, over.contents[node.inode]
                else:
                    yield prefix + name, node, self._contents.before(node.inode, cut)
