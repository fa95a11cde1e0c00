"""The verdicts of what faults left on a disk: one judge for all recordings of a prepared disk, for the life of a worker.

Folders of different recordings are alike as often as those of one: each recording begins with the same content, and takes the
same steps up to its fault. So a folder that was recovered once is not recovered again, whatever recording it comes from, and a
broken verdict that was confirmed once is not confirmed again. Each image is mounted: a folder is known by its content alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from crashmatrix.faults.disk import CrashImages, CrashState, Filesystem, MountRefused, Trace
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.patience import Patience
from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.processes.sandbox.cell import Cell
from crashmatrix.scenarios.recorded.boots import boot_after
from crashmatrix.scenarios.recorded.folder_judge import FolderJudge
from crashmatrix.scenarios.recorded.mounted import snapshot_of
from crashmatrix.scenarios.recorded.recording import journal_before
from crashmatrix.scenarios.recorded.second_lives import LifeJudge
from crashmatrix.scenarios.recorded.state_verdict import Judged, disagreement, named
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.contract import Violation, contract_named, is_ours, judge_safely
from crashmatrix.scenarios.target.journal import Item, Promises

__all__ = ["EndJudge", "Ends"]

Key = tuple[str, int]
"""A folder's name, and the number of the promises."""


class EndJudge:
    """Judges mounted crash states of recordings that began with the same items.

    Args:
        scratch: a folder outside of the disk.
        cell: where recoveries run, if there is one; made before anything is mounted.
    """

    def __init__(
        self, target: Target, filesystem: str, initial: Sequence[Item], scratch: Path, cell: Cell | None
    ) -> None:
        self._kind = load(target.name)
        self._contract = contract_named(self._kind.contract)
        self._initial = initial
        self._on_disk = Filesystem.parse(filesystem).on_disk
        self._store = SnapshotStore(scratch, keep=False, names=1 if self._on_disk else 2)
        self._numbers: dict[bytes, int] = {}
        self._promises: list[Promises] = []
        patience = Patience(self._kind.seconds_max, tries=2)
        self._folders = FolderJudge(
            target,
            self._promises.__getitem__,
            partial(self._store.capture, names=1 if cell else None),
            cell=cell,
            patience=patience,
            boot=(boot := boot_after("a disk that failed")),
        )
        self._life = LifeJudge(target, scratch, cell, patience, boot)
        self._lives: dict[Key, Violation | None] = {}
        self._confirmed: set[Key] = set()
        self._traces = 0

    @contextmanager
    def of(self, trace: Trace) -> Iterator[Ends]:
        """For the block, judge states of a recording."""
        self._traces += 1
        with CrashImages(trace) as images:
            yield Ends(self, trace, images, "" if self._on_disk else str(self._traces))

    def breaks(self, trace: Trace) -> bool:
        """Whether the promise is broken at the end of a recording, once the disk is mounted again."""
        with self.of(trace) as ends:
            return ends.judge(CrashState.whole(trace, len(trace.operations))).verdict.broken

    def number_of(self, lines: bytes) -> int:
        """Return the number of the promises that a journal makes. Raises UsageError: it makes no sense."""
        if lines not in self._numbers:
            self._promises.append(Promises.parse(lines, self._initial))
            self._numbers[lines] = len(self._promises) - 1
        return self._numbers[lines]

    def violation(self, trace: Trace, items: list[Item]) -> Violation | None:
        """Return how these items break what the whole journal of a recording promises."""
        promises = self._promises[self.number_of(_journal(trace, len(trace.operations)))]
        if is_ours(self._contract):
            return judge_safely(self._contract, promises, items)
        return self._folders.violation_apart(promises, items)

    def folder(self, root: Path, state: CrashState, number: int, apart: str) -> Judged:
        """Judge a mounted folder; ``apart`` keeps it from being taken for one of another recording."""
        tree = snapshot_of(self._store, root)
        # On `posix`, where the image is the folder, states that differ in times only are judged apart.
        folder = named(tree.digest, f"{apart} {state}") if apart else tree.digest
        if tree.unusable:
            return Judged(str(state), *tree.unusable, digest=folder, events=number)
        known = self._folders.known(folder, number, number)
        return replace(known or self._folders.check(root, tree, folder, number, number), state=str(state))

    def confirmed(self, found: Judged, again: Callable[[], Judged]) -> Judged:
        """Judge a broken state once more, unless that was done; two verdicts are none."""
        key = found.digest, found.events
        if not found.verdict.broken or key in self._confirmed:
            return found
        self._folders.forget(found)
        second = again()
        if second.verdict is not found.verdict:
            return disagreement(found, second)
        self._confirmed.add(key)
        return second

    def life(self, first: Judged, mounted: Callable[[], AbstractContextManager[Path]]) -> Violation | None:
        """Return what is wrong with the life after a recovery; it is lived once for each folder and its promises."""
        key = first.digest, first.events
        if key not in self._lives:
            with mounted() as root:
                self._lives[key] = self._life.judge(root)
        return self._lives[key]


class Ends:
    """Judges states of one recording, as `EndJudge.of` gives it."""

    def __init__(self, judge: EndJudge, trace: Trace, images: CrashImages, apart: str) -> None:
        self._judge, self._trace, self._images, self._apart = judge, trace, images, apart
        self._known: dict[CrashState, Judged] = {}

    def judge(self, state: CrashState) -> Judged:
        """Return the verdict of a crash state; a broken one was judged twice."""
        if state not in self._known:
            found = self._mounted(state)
            self._known[state] = self._judge.confirmed(found, lambda: self._mounted(state))
        return self._known[state]

    def second_life(self, state: CrashState, first: Judged) -> Judged:
        """Return the verdict of the life after the recovery of a state found safe. Raises MountRefused."""
        violation = self._judge.life(first, partial(self._images.mounted, state))
        return replace(first, verdict=violation.verdict, explanation=violation.explanation) if violation else first

    def _mounted(self, state: CrashState) -> Judged:
        number = self._judge.number_of(_journal(self._trace, state.cut))
        try:
            with self._images.mounted(state) as root:
                return self._judge.folder(root, state, number, self._apart)
        except MountRefused as error:
            return Judged(str(state), Verdict.UNMOUNTABLE, str(error), events=number)


def _journal(trace: Trace, cut: int) -> bytes:
    return b"".join(line + b"\n" for line in journal_before(trace, cut))
