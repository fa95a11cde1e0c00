"""Syncs that the harness makes instead of the system, to try whether they fix the bug.

They are made before each acknowledgement reaches the journal, before each rename or link, before each call that takes a file
away, or before each that changes a certain file.

    where system calls can be watched     by the process that holds the system's threads before their calls: a system in any
                                          language, of as many processes as it has
    elsewhere                             in the workload's own process, if it is Python and makes these calls itself; else, and
                                          before changes of a certain file, the count shows that no sync was made
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crashmatrix.reports.temporary_names import as_pattern
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.calls.system_calls import JOURNAL_LINE, PREFIX, run_watched
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.recorded.restarts import is_sync
from crashmatrix.scenarios.target.notes import AckNote, parse

__all__ = [
    "BEFORE_ACK",
    "BEFORE_CHANGE",
    "BEFORE_RECOVERY",
    "BEFORE_REMOVAL",
    "BEFORE_RENAME",
    "Remedy",
    "Syncing",
    "pattern_of",
    "syncs_made",
]

BEFORE_ACK, BEFORE_RENAME, BEFORE_REMOVAL, BEFORE_CHANGE = "ack", "rename", "removal", "change"
BEFORE_RECOVERY = "recovery"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{4,}"
_DIGEST = r"(?:(?<![^\W_])|(?<=0x))(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{8,}(?![^\W_])"
_DEALT = re.compile(rf"(?<![^/])(?!db/)[0-9a-f]{{2}}(?=/(?:{_DIGEST}|[\w.-]*\*))")
"""A folder for the files whose digests begin with the same byte, as git has them; `db` is a word."""

_VARYING = re.compile(rf"{_UUID}|{_DIGEST}|\d(?:\d|-(?!\*|{_UUID}))*")
_PATHS_SHOWN = 4
_RENAMES, _LINKS, _UNLINKS = f"{PREFIX}rename", f"{PREFIX}link", f"{PREFIX}unlink"
_WHEN = {
    BEFORE_ACK: "each acknowledgement",
    BEFORE_RENAME: "each rename or link of it",
    BEFORE_REMOVAL: "a file is removed or replaced",
    BEFORE_CHANGE: "each change of",
    BEFORE_RECOVERY: "recovery reads it, after a restart",
}


@dataclass(frozen=True)
class Remedy:
    """A sync to add, and when: before each acknowledgement, a rename of a file meant, a removal, a change of another file, or
    recovery after a restart.

    ``paths`` are patterns of paths relative to the directory under test, in which ``*`` stands for anything; a
    directory's ends in a slash, and ``./`` is the directory under test. ``changed`` is the pattern of that other file.
    """

    before: str
    paths: tuple[str, ...]
    changed: str = ""

    @property
    def text(self) -> str:
        """The syncs in a few words."""
        some = [
            *self.paths[:_PATHS_SHOWN],
            *([f"{len(self.paths) - _PATHS_SHOWN} more"] if self.paths[_PATHS_SHOWN:] else []),
        ]
        what = "everything" if self.paths == ("*",) else " and ".join(some)
        return f"fsync of {what} before {_WHEN[self.before]} {self.changed}".rstrip()

    def matches(self, path: str) -> bool:
        """Whether the remedy syncs a path, which is relative to the directory under test."""
        return any(fnmatch.fnmatchcase(path, pattern) for pattern in self.paths)


class Syncing:
    """A remedy at work. Every sync made is a byte in the open file ``count``."""

    def __init__(self, remedy: Remedy, root: Path, count: int) -> None:
        self._remedy, self._root, self._count = remedy, root, count
        self._before_sync: Callable[[], object] | None = None

    @property
    def in_process(self) -> bool:
        """Whether the workload's process makes the syncs, as this machine cannot watch system calls."""
        return bool(lacking())

    def run(self, workload: Callable[[], None], journal: Path, before_sync: Callable[[], object] | None = None) -> None:
        """Run a workload with the syncs. Raises UsageError if it fails in a process of its own.

        Args:
            before_sync: called before each sync call that the workload makes itself.
        """
        self._before_sync = before_sync
        if self.in_process:
            self.hook()
            workload()
        elif status := run_watched(workload, root=self._root, journal=journal, failpoints=(), at=self.at):
            raise UsageError(f"the workload ended with status {status} when syncs were added")

    def recover(self, recovery: Callable[[], None], journal: Path) -> None:
        """Run recovery after a restart, with the syncs that are due before it and in it. Raises UsageError as `run` does."""
        self.before_recovery()
        if self._remedy.before in (BEFORE_RENAME, BEFORE_REMOVAL, BEFORE_CHANGE):
            self.run(recovery, journal)
        else:
            recovery()

    def at(self, name: str, tree: ProcessTree, _: object = None) -> None:
        """Make the syncs that are due while a thread waits before a call."""
        if tree.waiting is None:
            return
        if name == JOURNAL_LINE:
            for line in tree.waiting.text().splitlines():
                self.before_line(line)
        elif is_sync(name) and self._before_sync:
            self._before_sync()
        elif name.startswith(_RENAMES):
            old, new = tree.waiting.paths()
            self.before_rename(old)
            self.before_removal(new)
        elif name.startswith(_LINKS):
            self.before_link()
        elif name.startswith(_UNLINKS):
            for path in tree.waiting.paths():
                self.before_removal(path)
        if name.startswith(PREFIX) and not is_sync(name):
            for path in tree.waiting.paths():
                self.before_change(path)

    def hook(self) -> None:
        """Watch the calls that this process makes by Python's functions."""
        remedy = self._remedy
        if remedy.before == BEFORE_RENAME:
            os.rename = self._renaming(os.rename)
            os.replace = self._renaming(os.replace)
            os.link = self._linking(os.link)
        if remedy.before == BEFORE_REMOVAL:
            os.rename, os.replace = self._removing(os.rename), self._removing(os.replace)
            os.unlink, os.remove = self._removing(os.unlink), self._removing(os.remove)

    def before_line(self, line: bytes) -> None:
        """A line is about to reach the journal."""
        if self._remedy.before == BEFORE_ACK and isinstance(parse(line), AckNote):
            self._sync_all()

    def before_recovery(self) -> None:
        """A process was killed, and recovery is about to begin."""
        if self._remedy.before == BEFORE_RECOVERY:
            self._sync_all()

    def _sync_all(self, below: str = "") -> None:
        for path in sorted(_paths(self._root)):
            if self._remedy.matches(path) and (path == below or path.startswith(below and f"{below}/")):
                self._sync(self._root / path)

    def before_rename(self, path: Any) -> None:
        """A file is about to get another name, or a folder is, with the files in it."""
        if self._remedy.before == BEFORE_RENAME and not (inside := self._relative(path)).startswith(".."):
            self._sync_all(inside)

    def before_link(self) -> None:
        """A file is about to get another name as a link: perhaps one that is meant, so all of those are synced."""
        if self._remedy.before == BEFORE_RENAME:
            self._sync_all()

    def before_removal(self, path: Any) -> None:
        """A name is about to lead to another file, or to none."""
        inside = self._relative(path)
        removes = self._remedy.before == BEFORE_REMOVAL and not inside.startswith("..")
        if removes and (self._root / inside).exists():
            self._sync_all()

    def before_change(self, path: Any) -> None:
        """A file is about to be changed, or to lose its name or get another one."""
        if self._remedy.before == BEFORE_CHANGE and fnmatch.fnmatchcase(self._relative(path), self._remedy.changed):
            self._sync_all()

    def _relative(self, path: Any) -> str:
        return os.path.relpath(os.fsdecode(path), self._root)

    def _renaming(self, rename: Callable[..., Any]) -> Any:
        def renamed(source: Any, target: Any, **how: Any) -> None:
            self.before_rename(source)
            rename(source, target, **how)

        return renamed

    def _linking(self, link: Callable[..., Any]) -> Any:
        def linked(*paths: Any, **how: Any) -> None:
            self.before_link()
            link(*paths, **how)

        return linked

    def _removing(self, remove: Callable[..., Any]) -> Any:
        def removed(*paths: Any, **how: Any) -> None:
            with contextlib.suppress(TypeError):  # A descriptor, or wrong arguments, which fail as ever.
                self.before_removal(paths[-1])
            remove(*paths, **how)

        return removed

    def _sync(self, path: Path) -> None:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # Another thread may have removed it.
            return
        try:
            os.fsync(file)
            os.write(self._count, b".")
        finally:
            os.close(file)


def syncs_made(count: Path) -> int:
    """How many syncs a recording was given."""
    return count.stat().st_size if count.exists() else 0


def pattern_of(path: str) -> str:
    """The pattern for a path and those that differ from it in numbers, or in names drawn at random, only."""
    special = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)
    return _VARYING.sub("*", _DEALT.sub("*", as_pattern(special)))


def _paths(root: Path) -> Iterator[str]:
    """Every file and directory below, relative; directories end in a slash."""
    yield "./"
    for folder, folders, files in os.walk(root):
        prefix = "" if Path(folder) == root else f"{os.path.relpath(folder, root)}/"
        yield from (f"{prefix}{name}/" for name in folders)
        yield from (f"{prefix}{name}" for name in files)
