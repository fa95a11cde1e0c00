"""Crash points that every program has: every system call by which a process tree changes the folder or its journal.

Each call (`table`) waits (`seccomp`) until a snapshot of the crash there was taken, or the crash has happened. The hits of a call
are counted as those of a failpoint of its name:

    call.write, call.rename, ...   about to do it, to a file in the folder
    call.write.cut, ...            a write half done, up to the end of a page of the file (`long_writes`)
    mapped.store                   about to store to a mapped file of the folder (`mapped_stores`)
    journal.line                   about to write to the journal
    NAME                           a failpoint: of Python (`own_failpoints`), or of another language (`outside_failpoints`)

Not seen: what is done through descriptors and paths that the kernel resolves out of our sight (a name reached by a symbolic link
from outside the folder). `Coverage` says what else was not, and why.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from crashmatrix.scenarios.processes.calls.arguments import changes, opened, touched
from crashmatrix.scenarios.processes.calls.call_faults import FailingCalls
from crashmatrix.scenarios.processes.calls.long_writes import CUT, WRITES, LongWrite, long_write
from crashmatrix.scenarios.processes.calls.mapped_stores import MAPPED_STORE, MappedStores
from crashmatrix.scenarios.processes.calls.outside_failpoints import printed, sleeping
from crashmatrix.scenarios.processes.calls.seccomp import Call, Listener, install, listener_from
from crashmatrix.scenarios.processes.calls.settling import LINES_MAX, Passed, Settling
from crashmatrix.scenarios.processes.calls.table import KINDS, MMAP, READS, REFUSED, SLEEPS, column, filters
from crashmatrix.scenarios.processes.calls.waiting import WaitingThread
from crashmatrix.scenarios.processes.process_tree import ProcessTree

__all__ = ["DESCRIPTIONS", "JOURNAL_LINE", "PREFIX", "At", "Coverage", "run_watched"]

PREFIX = "call."
"""The prefix of crash points that are system calls."""

JOURNAL_LINE = "journal.line"

_IO_URING = (
    "io_uring, which was refused (ENOSYS) because its requests cannot be held back: the program was crashed without it"
)
_FOREIGN = "its 32-bit programs, whose system calls are not known"

DESCRIPTIONS: Final = {
    JOURNAL_LINE: "about to write to the journal",
    MAPPED_STORE: "about to store to a mapped file of the folder",
    **{PREFIX + name: f"about to {name} in the folder" for name in KINDS},
    **{PREFIX + name + CUT: f"a {name} done up to the end of a page of the file" for name in WRITES},
}
"""The description of each crash point that is not a failpoint."""

At = Callable[[str, ProcessTree, Callable[[], None]], None]
"""Called with a crash point's name, the tree, and a function that brings about what a crash there leaves (for most, nothing)."""


@dataclass
class Coverage:
    """Changes by a run that no crash point lies in: words for the report."""

    lacks: list[str] = field(default_factory=list)
    """Kinds of changes."""
    notes: list[str] = field(default_factory=list)
    """Rules by which some of a kind were left out."""

    def lack(self, what: str) -> None:
        """Add a kind, once."""
        self.lacks += [what] if what not in self.lacks else []

    def note(self, rule: str) -> None:
        """Add a rule, once."""
        self.notes += [rule] if rule not in self.notes else []


def run_watched(
    body: Callable[[], None],
    *,
    root: Path,
    journal: Path | None,
    failpoints: Sequence[str],
    at: At,
    coverage: Coverage | None = None,
    stores: bool = False,
    failing: FailingCalls | None = None,
    own: bool = False,
) -> int:
    """Run ``body`` in a process tree of its own; returns its exit code, negative for a signal.

    Args:
        at: called at each hit of a crash point, in order, before the call is done; it may freeze or kill the tree.
        coverage: is given what could not be seen.
        stores: stop before stores to mapped files, too; that takes time.
        failing: answers calls in the folder in the kernel's place; then no write is cut.
        own: whether the body shows failpoints of Python (`own_failpoints.show_own`).

    Raises OSError where `seccomp.lacking` says so.
    """
    ours, theirs = socket.socketpair()

    def filtered() -> None:
        ours.close()
        with theirs:
            sleeps = own or bool(failpoints)
            reads, pages = failing is not None and failing.reads, failing is not None and failing.cache is not None
            install(filters(sleeps=sleeps, reads=reads, pages=pages), theirs)
        body()

    with ProcessTree(filtered) as tree, ours:
        theirs.close()
        if listener := listener_from(ours):
            try:
                watch = _Watch(listener, root, journal, failpoints, coverage or Coverage(), stores, failing)
                watch.until_end(tree, at)
            finally:
                listener.close()
        return tree.wait()


class _Watch:
    """Knows which crash points a waiting call is."""

    def __init__(
        self,
        listener: Listener,
        root: Path,
        journal: Path | None,
        failpoints: Sequence[str],
        coverage: Coverage,
        stores: bool,
        failing: FailingCalls | None,
    ) -> None:
        self._listener, self._failpoints, self._coverage = listener, list(failpoints), coverage
        self._failing = failing
        self._root = os.path.realpath(root)
        self._journal = os.path.realpath(journal) if journal else None
        self._kinds = {kind.numbers[column()]: (name, kind) for name, kind in KINDS.items() if kind.numbers[column()]}
        self._kinds |= {kind.numbers[column()]: (name, kind) for name, kind in READS.items()}  # read(2) has number 0.
        self._sleeps = {numbers[column()] for numbers in SLEEPS.values()}
        self._follow = stores
        self._refused = {numbers[column()] for numbers in REFUSED.values()}
        self._settling, self._their_turn = Settling(), deque[Call]()

    def until_end(self, tree: ProcessTree, at: At) -> None:
        """Answer call after call until the body has ended."""
        if not self._follow:
            self._answer_all(tree, at, None)
            return

        def passed() -> None:
            self._let_others_go_on(tree, at)
            at(MAPPED_STORE, tree, _nothing)

        stores = MappedStores(self._is_inside, passed, self._coverage.lack, self._coverage.note)
        tree.reap = stores.reap
        try:
            self._answer_all(tree, at, stores)
        except BaseException:
            tree.kill()  # While the traced ones can still be reaped.
            raise
        finally:
            stores.close()

    def _answer_all(self, tree: ProcessTree, at: At, stores: MappedStores | None) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(tree, select.POLLIN)
        if stores:
            poll.register(stores, select.POLLIN)
        while True:
            ready = dict(poll.poll(0 if self._their_turn else None))
            if stores and stores.fileno() in ready:
                stores.go_on()
            if self._their_turn:
                self._one(self._their_turn.popleft(), tree, at, stores)
            elif ready.get(self._listener.fileno(), 0) & select.POLLIN:
                if call := self._listener.receive():
                    self._one(call, tree, at, stores)
            elif tree.fileno() in ready:
                return
            elif self._listener.fileno() in ready:  # Nobody has the filter any more; the end is a moment away.
                poll.unregister(self._listener)

    def _one(self, call: Call, tree: ProcessTree, at: At, stores: MappedStores | None) -> None:
        self._hold(call, tree)
        try:
            if call.number == MMAP[column()] and not call.foreign:
                self._mapping(call, stores)
            elif (answer := self._passed(call, tree, at)) is None:
                self._listener.let_go(call)
            else:
                self._listener.answer(call, answer)
        finally:
            tree.held = [thread for thread in tree.held if thread != call.pid]
            tree.waiting = None

    def _hold(self, call: Call, tree: ProcessTree, *, looked_at: bool = True) -> None:
        if self._listener.holds:
            others = [thread for thread in tree.held if thread != call.pid]
            tree.held = [*others, call.pid] if looked_at else [call.pid, *others]

    def _let_others_go_on(self, tree: ProcessTree, at: At) -> None:
        """Let all but the one that is held go on until they wait; see `settling`. Without a journal, nobody's words count."""
        if not self._listener.holds or self._failing or not self._journal:
            return
        poll, lines = select.poll(), Counter[int]()
        poll.register(self._listener, select.POLLIN)

        def next_call() -> Passed | None:
            waits = any(events & select.POLLIN for _, events in poll.poll(0)) and self._listener.receive()
            return Passed(waits.pid, self._meanwhile(waits, tree, at, lines)) if waits else None

        self._settling.wait(tree.running, next_call)

    def _meanwhile(self, call: Call, tree: ProcessTree, at: At, lines: Counter[int]) -> bool:
        """Deal with a call that comes while another is held; returns whether it was a line of the journal."""
        name = self._kind_of_point(call)
        lines[call.pid] += name == JOURNAL_LINE
        if name and (name != JOURNAL_LINE or lines[call.pid] > LINES_MAX):
            self._hold(call, tree, looked_at=False)
            self._their_turn.append(call)
            return False
        self._one(call, tree, at, None)
        return name == JOURNAL_LINE

    def _kind_of_point(self, call: Call) -> str:
        """Return a crash point's name, something for a mapping that is to be followed, or nothing."""
        if call.foreign or call.number in self._refused:
            return ""
        if call.number == MMAP[column()]:
            return MAPPED_STORE if self._follow else ""
        with contextlib.suppress(OSError, OverflowError, struct.error):
            return self._point(call)[0]
        return ""

    def _mapping(self, call: Call, stores: MappedStores | None) -> None:
        if self._failing:
            with contextlib.suppress(OSError):  # It was killed meanwhile, or maps no file.
                self._failing.mapping(call, self._is_inside)
        if stores is None:
            self._listener.let_go(call)
        else:
            stores.mapping(call, holds=self._listener.holds, let_go=lambda: self._listener.let_go(call))

    def _passed(self, call: Call, tree: ProcessTree, at: At) -> int | None:
        """Pass the crash points of a call; returns what to answer in the kernel's place, None to have it done."""
        if call.foreign:
            self._coverage.lack(_FOREIGN)
            return None
        if call.number in self._refused:
            self._coverage.lack(_IO_URING)
            return -errno.ENOSYS
        try:
            if self._failing and self._failing.changes_nothing(call, self._is_inside):
                return None
            name, slept, files = self._point(call)
            cut = name.removeprefix(PREFIX) in WRITES and self._failing is None
            write = long_write(call, name.removeprefix(PREFIX)) if cut else None
        except (OSError, OverflowError, struct.error):
            # It was killed meanwhile, or hands over an address that is none.
            return None
        if name:
            if name != JOURNAL_LINE:
                self._let_others_go_on(tree, at)
            tree.waiting = self._waiting(call)
            at(name, tree, _nothing)
        if self._failing and name.startswith(PREFIX):
            return self._failed(self._failing, call, files)
        if write:
            return _cut(write, name + CUT, tree, at)
        return 0 if slept else None

    def _failed(self, failing: FailingCalls, call: Call, files: Sequence[str]) -> int | None:
        name, kind = self._kinds[call.number]
        with contextlib.suppress(OSError, OverflowError, struct.error):  # as above
            return failing.answer(call, name, touched(call, name, kind) if kind.anywhere else files)
        return None

    def _point(self, call: Call) -> tuple[str, bool, Sequence[str]]:
        """Return the crash point's name, or nothing; whether it is a failpoint's sleep, which is over at once; its files."""
        if call.number in self._sleeps:
            failpoint = sleeping(call, self._failpoints)
            return failpoint, bool(failpoint), ()
        name, kind = self._kinds[call.number]
        if name == "write" and call.arguments[0] == 1 and (failpoint := printed(call, self._failpoints)):
            return failpoint, False, ()
        if kind.anywhere:
            about_journal = kind.files and self._journal == opened(call, call.arguments[kind.files[0]])
            return (JOURNAL_LINE if about_journal else PREFIX + name), False, ()
        files = touched(call, name, kind)
        if kind.files and self._journal == files[0]:
            return JOURNAL_LINE, False, ()
        inside = any(map(self._is_inside, files)) and changes(call, name)
        return (PREFIX + name if inside else ""), False, files

    def _waiting(self, call: Call) -> WaitingThread | None:
        known = self._kinds.get(call.number)
        return WaitingThread(call, *known, self._root, self._is_inside) if known else None

    def _is_inside(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root + "/")


def _cut(write: LongWrite, name: str, tree: ProcessTree, at: At) -> int | None:
    """Pass the crash points inside a write.

    Meanwhile nobody else writes to the file: other writes wait for us, too. Readers may see half a write, as they may when the
    kernel does it.
    """
    for length in write.cuts:
        at(name, tree, partial(write.write_until, length))
    return write.finish()


def _nothing() -> None: ...
