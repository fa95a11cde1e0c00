"""Which file or directory each change of a tree's trace concerns: the trace itself has it, exactly."""

import os
import stat
from dataclasses import replace

from crashmatrix.faults.disk.trace.named import ATTRIBUTE, DATA, IN_PLACE, NAMES, SIZE, Named
from crashmatrix.faults.disk.trace.operations import (
    ROOT,
    Attribute,
    Data,
    Entry,
    Names,
    Size,
    Sync,
)
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["tree_changes", "tree_syncs"]


def tree_changes(trace: Trace, cut: int) -> dict[int, Named]:
    """The changes before position `cut`, by position."""
    walk = _Walk()
    for position, operation in enumerate(trace.operations[:cut]):
        match operation:
            case Names(entries):
                walk.rename(position, entries)
            case Data(inode, offset, data):
                walk.note(position, inode, Named(kind=DATA, start=offset, stop=offset + len(data)))
            case Size(inode, size):
                walk.note(position, inode, Named(kind=SIZE, stop=size))
            case Attribute(inode) as change:
                walk.note(position, inode, Named(kind=ATTRIBUTE, what=_in_words(change)))
    return {at: replace(named, now=walk.path(inode)) for at, (inode, named) in walk.found.items()}


def tree_syncs(trace: Trace, cut: int) -> dict[int, str]:
    """The path that each sync before position `cut` is of, by position; empty for a file without a name then."""
    walk, found = _Walk(), dict[int, str]()
    for position, operation in enumerate(trace.operations[:cut]):
        match operation:
            case Names(entries):
                walk.rename(position, entries)
            case Sync(inode):
                found[position] = walk.path(inode)
    return found


def _in_words(change: Attribute) -> str:
    name, value = os.fsdecode(change.name), change.value
    if value is None:
        return f"attribute {name} removed"
    match change.name:
        case b"mode":
            return f"permissions become {stat.S_IMODE(int(value)):o}"
        case b"owner":
            return f"owner becomes {value.decode().replace(' ', ':')}"
        case b"modified" | b"accessed":
            return f"time set at which it was {name}"
    return f"attribute {name} set"


class _Walk:
    """The names at one position of the trace; goes through the trace once."""

    def __init__(self) -> None:
        self.found: dict[int, tuple[int, Named]] = {}
        self._leads: dict[tuple[int, bytes], int] = {}
        self._places: dict[int, list[tuple[int, bytes]]] = {}
        """For each inode, its names, the latest last; no entry without one."""

    def path(self, inode: int) -> str:
        """The path of an inode; empty if it has no name."""
        parts: list[bytes] = []
        while inode != ROOT:
            if inode not in self._places:
                return ""
            inode, name = self._places[inode][-1]
            parts.append(name)
        return os.fsdecode(b"/".join(reversed(parts))) or "."

    def note(self, position: int, inode: int, named: Named) -> None:
        path = self.path(inode) or "a file without a name"
        self.found[position] = inode, replace(named, path=path)

    def rename(self, position: int, entries: tuple[Entry, ...]) -> None:
        folder = entries[-1][0]
        what = self._what(entries)
        path = self.path(folder) or "a directory without a name"
        for entry in entries:
            self._lead(*entry)
        self.found[position] = folder, Named(kind=NAMES, path=path, what=what)

    def _what(self, entries: tuple[Entry, ...]) -> str:
        if len(entries) == 1:
            _, name, inode = entries[0]
            text = os.fsdecode(name)
            if not inode:
                return f"{text} removed"
            return f"{text} linked to {self.path(inode)}" if inode in self._places else f"{text} made"
        (old_folder, old_name, left), (new_folder, new_name, _) = entries
        old, new = os.fsdecode(old_name), os.fsdecode(new_name)
        if old_folder != new_folder:
            old = f"{self.path(old_folder)}/{old}"
        if left:
            return f"{old} and {new} exchanged"
        over = IN_PLACE if (new_folder, new_name) in self._leads else ""
        return f"{old} becomes {new}{over}"

    def _lead(self, folder: int, name: bytes, inode: int) -> None:
        before = self._leads.pop((folder, name), 0)
        if before:
            self._places[before].remove((folder, name))
            if not self._places[before]:
                del self._places[before]
        if inode:
            self._leads[folder, name] = inode
            self._places.setdefault(inode, []).append((folder, name))
