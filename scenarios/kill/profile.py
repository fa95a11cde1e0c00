"""Step 1 of the kill experiment: lay out the folder, and run the workload once undisturbed to learn where it can crash.

A workload is crashed at every system call that changes its folder or its journal (`system_calls`), and at every failpoint, in
whichever of its processes that is hit. A system may say that its failpoints suffice (`SystemUnderTest.failpoints_suffice`), and a
machine may be unable to watch calls. Crash points are then failpoints and journal lines of one process, and the report says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from crashmatrix.faults.disk.linux.folders import read_file
from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.judging import worker as work
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.worker import Profile
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.target.journal import Item, Promises

__all__ = ["Prepared", "prepare", "prepare_once", "shrunk"]

_JOURNAL = "journal."


@dataclass
class Prepared:
    """The state from which every run of the workload starts."""

    tree: Tree
    items: tuple[Item, ...]
    profile: Profile
    final: Tree
    """The folder at the end of the undisturbed run."""
    promises: Promises
    """The promises of the undisturbed run."""
    unseen: str = ""
    """Why the failpoints of a program cannot be seen here."""
    note: str = ""
    """A note for the report on where the system is crashed."""
    watch_calls: bool = False
    """Whether it is crashed at system calls."""

    def trees(self) -> list[Tree]:
        """The snapshots in it."""
        return [self.tree, self.final]


def prepare_once(checker: Checker) -> Prepared:
    """As `prepare`; a run that is resumed goes on from what the earlier one prepared."""
    prepared = checker.memory.once("prepared for kills", Prepared, lambda: prepare(checker), Prepared.trees)
    checker.target = replace(checker.target, watch_calls=prepared.watch_calls)
    return prepared


def prepare(checker: Checker) -> Prepared:
    """Prepare and profile; sets the checker's target to watch system calls if it is to be crashed at those.

    Raises:
        UsageError: the system does not work undisturbed.
        EnvironmentLacks: it could be crashed nowhere, because this machine cannot watch system calls.
    """
    folder = checker.folder()
    root = folder / ROOT_NAME
    items, tree = checker.prepare(root)
    journal = folder / "journal"
    profile, final = _profile(checker, root, journal)
    note = _why_not_calls(checker, profile)
    if not note:
        checker.target = replace(checker.target, watch_calls=True)
        again = checker.folder()  # Another folder: the workload may have changed the first one in any way.
        journal = again / "journal"
        checker.store.restore(tree, again / ROOT_NAME)
        if profile.elsewhere and checker.system.failpoints_suffice:
            note = "processes that the workload forked hit failpoints, so it was crashed at system calls, too"
        profile, final = _profile(checker, again / ROOT_NAME, journal)
    elif not profile.hits:
        raise EnvironmentLacks(f"{checker.target.name} has no failpoints, and {lacking()}")
    elif lacking():
        profile = replace(profile, uncovered=(*profile.uncovered, f"system calls, because {lacking()}"))
    unseen = lacking() if profile.listed else ""
    promises = Promises.parse(read_file(journal), items)
    for made in {folder, journal.parent}:
        remove_tree(made)
    return Prepared(tree, tuple(items), profile, final, promises, unseen, note, checker.target.watch_calls)


def _why_not_calls(checker: Checker, profile: Profile) -> str:
    """Return a note that says why the system is not crashed at its system calls; empty if it is."""
    own = _has_own(profile)
    if own and not profile.elsewhere and not profile.listed and checker.system.failpoints_suffice:
        return "killed at its failpoints and journal lines, not at its system calls, because it says failpoints_suffice"
    return f"killed at {'its own failpoints and ' if own else ''}journal lines only: {lacking()}" if lacking() else ""


def _profile(checker: Checker, root: Path, journal: Path) -> tuple[Profile, Tree]:
    profile = checker.must("the undisturbed workload", checker.run(work.profile, root, journal))
    if profile.shrunk:
        raise shrunk(checker)
    return profile, checker.store.capture(root)


def shrunk(checker: Checker) -> UsageError:
    """The error for a workload that does more to its journal than append."""
    return UsageError(
        f"the workload of {checker.target.name} removed or truncated its journal; it may only append to it"
    )


def _has_own(profile: Profile) -> bool:
    return not all(name.startswith(_JOURNAL) for name, _ in profile.hits)
