"""Stores that survive every power cut but those which one kind of nudge brings about, and no other.

Nothing is acknowledged but an item that was there from the start, so each state that a store survives is safe.

Each is wrong only if so many files had their data written, or so many names committed, at once, that the other kinds
cannot bring it about: they write too few, commit in between, or come too late or never. `benchmarks.nudges` counts.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crashmatrix import Journal, SystemUnderTest
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from tests.scenarios.experiments import power_of

OLD, NEW = b"o" * 4096, b"n" * 4096
THERE = ["there", 0]
"""The one item that is owed. It is always there; a run that acknowledges nothing is not crashed."""


class Unpromised(Exception):
    """Ends an attempt without an acknowledgement."""


def owe(journal: Journal) -> None:
    """Acknowledge what is always there."""
    with journal.attempt(THERE):
        pass


class Gates(SystemUnderTest):
    """Slots that are overwritten in place, each after its gate, an empty file, got another name. Nothing is synced.

    A slot reaches the disk if its page is written back, the new name of a gate if the filesystem's journal is committed.
    """

    contract = "latest"
    slots = 30
    pause_seconds = 0.0

    def prepare(self, root: Path) -> Sequence[Any]:
        for number in range(self.slots):
            (root / f"slot{number}").write_bytes(OLD)
            (root / f"gate{number}").touch()
        return [THERE]

    def step(self, root: Path, number: int) -> None:
        (root / f"gate{number}").rename(root / f"open{number}")
        descriptor = os.open(root / f"slot{number}", os.O_WRONLY)
        os.pwrite(descriptor, NEW, 0)
        os.close(descriptor)
        time.sleep(self.pause_seconds)

    def workload(self, root: Path, journal: Journal) -> None:
        owe(journal)
        for number in range(self.slots):
            try:
                with journal.attempt(["slot", number]):
                    self.step(root, number)
                    raise Unpromised
            except Unpromised:
                pass
        (root / "done").touch()

    def recover(self, root: Path) -> Sequence[Any]:
        opened = sum((root / f"open{number}").exists() for number in range(self.slots))
        written = sum((root / f"slot{number}").read_bytes()[:1] == b"n" for number in range(self.slots))
        if not (root / "done").exists() and self.wrong(opened, written):
            raise ValueError(f"{opened} gates are open, {written} slots are new")
        return [THERE]

    def wrong(self, opened: int, written: int) -> bool:
        raise NotImplementedError


class WrittenNotCommitted(Gates):
    """Wrong if many slots are new and not one gate is open: a commit, of whatever kind, opens the first ones."""

    pause_seconds = 0.004

    def wrong(self, opened: int, written: int) -> bool:
        return written >= 7 and not opened


class WrittenAndCommittedAtOnce(Gates):
    """Wrong if many of both are new, in a run so short that no other process gets to write more than a few slots."""

    slots = 80

    def wrong(self, opened: int, written: int) -> bool:
        return written >= 10 and opened >= 20


class WrittenInSilence(Gates):
    """Wrong if a third of the slots is new, written while the journal, at which most kinds nudge, is silent for long."""

    slots = 60

    def workload(self, root: Path, journal: Journal) -> None:
        owe(journal)
        try:
            with journal.attempt(["slot", 0]):
                for number in range(self.slots):
                    self.step(root, number)
                    time.sleep(0.012)
                raise Unpromised
        except Unpromised:
            pass
        (root / "done").touch()

    def wrong(self, opened: int, written: int) -> bool:
        return written >= 24 and opened >= 20


class CommittedNotWritten(SystemUnderTest):
    """Wrong if every copy has its name and not one its content: written back, a single one would be whole."""

    contract = "latest"
    copies = 20

    def prepare(self, _: Path) -> Sequence[Any]:
        return [THERE]

    def workload(self, root: Path, journal: Journal) -> None:
        owe(journal)
        for number in range(self.copies + 5):
            try:
                with journal.attempt(["slot", number]):
                    if number < self.copies:
                        (root / f"copy{number}").write_bytes(NEW)
                    time.sleep(0.008)
                    raise Unpromised
            except Unpromised:
                pass

    def recover(self, root: Path) -> Sequence[Any]:
        sizes = [path.stat().st_size for path in root.glob("copy*")]
        if len(sizes) == self.copies and not any(sizes):
            raise ValueError("no copy has any content")
        return [THERE]


EXPOSED_BY = {
    "commit": CommittedNotWritten,
    "writeback": WrittenNotCommitted,
    "mixed": WrittenAndCommittedAtOnce,
    "async": WrittenInSilence,
}
"""Each kind of nudge and its store. A storm alone exposes `replace:none`, a file replaced without a sync: it is all zeros."""


def exposed(target: str, nudge: str, seed: int, budget: int = 150) -> set[str]:
    """The broken promises that one recording under one kind of nudge brings to light."""
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(target=target, seed=seed, budget=budget, report=Path(folder) / "report")
        with workbench(plan) as (checker, _):
            experiment = power_of(plan, checker, keep_evidence=False)
            experiment.nudges, experiment.restarts = (nudge,), 0
            experiment.run()
            return {result.verdict.value for result in experiment.ordered() if result.verdict.broken}
