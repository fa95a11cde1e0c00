"""The changes of a folder between two snapshots, in words: made, written, emptied, renamed, linked, exchanged, removed.

    both snapshots are of one folder     a file is known by its inode: its number and time of birth. Where the filesystem keeps no
                                         time of birth, content and time of change must be equal, too: a number is used again
    the folder was laid out in between   every inode is new; a file that went and one that came with the same content are one

A file that shares nothing but its content with one that went, such as an empty one, is never called a rename.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from crashmatrix.faults.disk.trace.named import IN_PLACE
from crashmatrix.scenarios.judging.snapshots.tree import FILE, ROOT, Entry, Tree

__all__ = ["changes_between", "is_loss", "is_of_names"]

Entries = Mapping[str, Entry]

_SHORTER = "becomes shorter: "


def changes_between(before: Tree, after: Tree) -> list[str]:
    """Return the changes to a folder in words, path by path."""
    if unusable := after.unusable or before.unusable:
        return [unusable[1]] if before.digest != after.digest else []
    return _Changes(dict(before.entries), dict(after.entries)).words(before.difference(after))


def is_loss(change: str) -> bool:
    """Whether a change in words took content away: a file was removed, emptied, or cut off."""
    return change.endswith((" removed", " emptied")) or _SHORTER in change


def is_of_names(change: str) -> bool:
    """Whether a change in words is about a file that has another name now, or none; not about what a file contains."""
    moved = " linked to " in change or (" becomes " in change and _SHORTER not in change)
    return moved or change.endswith((" removed", " replaced", " exchanged"))


class _Changes:
    def __init__(self, before: Entries, after: Entries) -> None:
        self._before, self._after = before, after
        self._in_place = _is_one_folder(before, after)
        self._origins = _origins_in_place(before, after) if self._in_place else _by_content(before, after)
        self._left = {old for new, old in self._origins.items() if not self._stays(old)}
        """The paths that a file has left for another one."""

    def words(self, paths: list[str]) -> list[str]:
        """The changes of these paths. A path with a file that left it is not called removed."""
        changed = [*paths, *(new for new in self._origins if new not in paths)]
        return [word for path in sorted(changed) for word in self._of(path)]

    def _of(self, path: str) -> list[str]:
        entry, there = self._after.get(path), self._before.get(path)
        if entry is None:
            return [] if path in self._left else [f"{path} removed"]
        if old := self._origins.get(path):
            return self._moved(old, path, entry)
        if there is None:
            return [f"{path} made"]
        if path in self._left:
            return [f"{path} made"]  # Under a name that is free again.
        if self._in_place and there.inode != entry.inode and there.content != entry.content:
            return [f"{path} replaced"]
        return _changes_of(path, there, entry)

    def _moved(self, old: str, path: str, entry: Entry) -> list[str]:
        if self._origins.get(_folder_of(path)) == _folder_of(old) and _name(path) == _name(old):
            return []  # With its folder.
        written = [f"{path} written"] if entry.content != self._before[old].content else []
        if self._stays(old):
            return [f"{path} linked to {old}", *written]
        if self._origins.get(old) == path:
            return [f"{old} and {path} exchanged", *written] if old < path else written
        over = IN_PLACE if path in self._before and path not in self._left else ""
        return [f"{old} becomes {path}{over}", *written]

    def _stays(self, path: str) -> bool:
        """Whether a file still has the name that it had before."""
        return path in self._after and _same_file(self._before[path], self._after[path])


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _is_one_folder(before: Entries, after: Entries) -> bool:
    return ROOT in before and ROOT in after and before[ROOT].inode == after[ROOT].inode != (0, 0)


def _same_file(one: Entry, other: Entry) -> bool:
    if one.inode != other.inode or one.kind != other.kind or not one.inode[0]:
        return False
    return bool(one.inode[1]) or (one.content, one.modified_ns) == (other.content, other.modified_ns)


def _origins_in_place(before: Entries, after: Entries) -> dict[str, str]:
    """For each path that another file has now: the path that this file had, if it had one."""
    known: dict[tuple[int, int], list[str]] = {}
    for path, entry in before.items():
        known.setdefault(entry.inode, []).append(path)
    found = {}
    for path, entry in after.items():
        had = [old for old in known.get(entry.inode, ()) if _same_file(before[old], entry)]
        if had and path not in had:
            gone = [old for old in had if old not in after or not _same_file(before[old], after[old])]
            found[path] = (gone or had)[0]
    return found


def _by_content(before: Entries, after: Entries) -> dict[str, str]:
    """For each path that is new, or has another content: the path that went, whose content it alone has."""
    gone = {entry.content: path for path, entry in before.items() if path not in after and _tells(entry)}
    counts = Counter(entry.content for path, entry in before.items() if path not in after)
    found: dict[str, str] = {}
    for path, entry in after.items():
        differs = path not in before or before[path].content != entry.content
        if differs and counts[entry.content] == 1 and (old := gone.pop(entry.content, "")):
            found[path] = old
    return found


def _tells(entry: Entry) -> bool:
    """Whether a content says anything: that of an empty file does not."""
    return bool(entry.content) and (entry.kind != FILE or bool(entry.extents))


def _written(before: Entry, after: Entry) -> str:
    """How a content changed, as far as its length tells: a call that cuts a file off is seldom one that writes to it."""
    was, now = (entry.extents[-1][1] if entry.extents else 0 for entry in (before, after))
    if before.kind == after.kind == FILE and now < was:
        return f"{_SHORTER}{now:,} bytes, {was:,} before" if now else "emptied"
    return "written"


def _changes_of(path: str, before: Entry, after: Entry) -> list[str]:
    """The changes to one entry in words. A further name of the same file is one of another path."""
    name = "the folder" if path == ROOT else path
    if (before.kind, before.content) != (after.kind, after.content):
        return [f"{name} {_written(before, after)}"]
    words = []
    if before.mode != after.mode:
        words.append(f"permissions of {name} become {after.mode:o}")
    if before.owner != after.owner:
        words.append(f"owner of {name} becomes {after.owner[0]}:{after.owner[1]}")
    there, left = dict(before.attributes), dict(after.attributes)
    changed = [each for each in sorted(there.keys() | left.keys()) if there.get(each) != left.get(each)]
    return words + [f"attribute {each} of {name} {'set' if each in left else 'removed'}" for each in changed]
