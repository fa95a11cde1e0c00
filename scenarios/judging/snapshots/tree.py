"""A folder as a value: what a snapshot holds, and when two folders count as equal.

    part of an entry                     restored   in `Tree.digest` and `Tree.difference`
    kind, permissions, owner, content    yes        yes
    which names are one file             yes        yes
    extended attributes and ACLs         yes        yes
    holes of a file                      yes        no: a hole reads as zeros
    times of change and of access        yes        no: two runs never share them
    order of the times of change         yes        no; `Tree.order` has it

The order of times is apart, since programs look for the newest file while no program can rely on an exact time. States that
differ only in that order are judged apart (`CrashState.key`).

Not restored, since no program can set them: inode numbers, times of birth and of status change (ctime), names of the same file
outside of the folder, room allocated and never written, inode flags (chattr), and labels of security modules.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.snapshots.sparse import digest_of

__all__ = ["DIRECTORY", "FILE", "LINK", "REPLACED", "ROOT", "UNREADABLE", "Entry", "Tree", "folded", "joined"]

FILE, DIRECTORY, LINK = "file", "directory", "link"
"""The kinds of entries that hold something; the others are ``fifo``, ``socket``, ``character device``, ``block device``."""

REPLACED, UNREADABLE = "replaced", "unreadable"
"""Kinds of the one entry, without a name, of a tree that cannot be laid out; its content says why."""

_EMPTY = digest_of(b"", 0)
_NUMBERS = re.compile(r"[0-9a-f]{8,}|\d+")

ROOT = "."
"""The path of the folder itself."""


@dataclass(frozen=True)
class Entry:
    """One name in a folder. ``content`` is a file's digest, a link's target, or a device's number.

    ``owner`` is user and group. ``same`` is the first path of the same file; empty if this is the first.
    """

    kind: str
    mode: int
    content: str = ""
    owner: tuple[int, int] = (0, 0)
    attributes: tuple[tuple[str, bytes], ...] = ()
    same: str = ""
    accessed_ns: int = field(default=0, compare=False, repr=False)
    modified_ns: int = field(default=0, compare=False, repr=False)
    extents: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)
    """The ranges of a file that are no holes, in bytes."""
    inode: tuple[int, int] = field(default=(0, 0), compare=False, repr=False)
    """Its number, and its time of birth in nanoseconds: 0 where the filesystem keeps none."""

    @cached_property
    def text(self) -> str:
        """As `repr`, made once: most entries are in many trees."""
        return repr(self)


@dataclass(frozen=True)
class Tree:
    """A folder's content: relative path to entry, sorted; the folder itself is `ROOT`. Empty: there is no folder."""

    entries: tuple[tuple[str, Entry], ...]

    @cached_property
    def unusable(self) -> tuple[Verdict, str] | None:
        """The verdict on a folder that cannot be laid out again, and why; None if it can be.

        One that was replaced cannot be opened by anybody. One with a mount in it, or a file that this user may not read, could
        be: it is unknown what would come of that.
        """
        kind, text = (self.entries[0][1].kind, self.entries[0][1].content) if self.entries else ("", "")
        verdict = {REPLACED: Verdict.CANNOT_OPEN, UNREADABLE: Verdict.UNKNOWN}.get(kind)
        return (verdict, text) if verdict else None

    @cached_property
    def digest(self) -> str:
        """Equal for equal folders, and for no others."""
        every = [f"({path!r}, {entry.text})" for path, entry in self.entries]
        text = f"({', '.join(every)}{',' * (len(every) == 1)})"  # As `repr`, from texts made once.
        return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()

    @cached_property
    def order(self) -> str:
        """Equal for equal folders whose files were changed in the same order. Files of one time share a rank."""
        return _ranks(self._times)

    def order_since(self, before: Tree) -> str:
        """As `order`, but everything that changed after the newest file of ``before`` counts as changed at one time.

        The files that a recovery writes get one time or several, by the ticks of the clock that happen to fall in between.
        """
        later = max(before._times, default=0) + 1
        return _ranks([min(time, later) for time in self._times])

    @cached_property
    def _times(self) -> list[int]:
        return [entry.modified_ns for _, entry in self.entries if entry.kind == FILE]

    @property
    def contents(self) -> set[str]:
        """The digests of its files' contents."""
        return {entry.content for _, entry in self.entries if entry.kind == FILE}

    @cached_property
    def shape(self) -> str:
        """Equal for folders with the same names, but for numbers in them, of which the same kinds are empty files or not."""
        entries = (f"{path} {entry.kind}{' empty' * (entry.content == _EMPTY)}" for path, entry in self.entries)
        return hashlib.blake2b(folded(entries).encode(), digest_size=12).hexdigest()

    def difference(self, other: Tree) -> list[str]:
        """Return the paths at which two folders differ, sorted."""
        mine, theirs = dict(self.entries), dict(other.entries)
        return sorted(path for path in mine.keys() | theirs.keys() if mine.get(path) != theirs.get(path))


def folded(paths: Iterable[str]) -> str:
    """Return the kinds of paths there are, each once: paths without the numbers and digests in them."""
    return "\n".join(sorted({_NUMBERS.sub("#", path) for path in paths}))


def _ranks(times: list[int]) -> str:
    ranks = {time: rank for rank, time in enumerate(sorted(set(times)))}
    return " ".join(str(ranks[time]) for time in times)


def joined(entries: Iterable[tuple[str, Entry]], linked: Iterable[Iterable[str]]) -> Tree:
    """Make a tree of these entries. Each of the groups in ``linked`` are the paths of one file."""
    found = dict(entries)
    for paths in linked:
        first, *others = sorted(paths)
        found.update({path: replace(found[path], same=first) for path in others})
    return Tree(tuple(sorted(found.items())))
