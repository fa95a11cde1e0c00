"""Snapshots that a job has taken of its folder: one at each hit that it reports."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from crashmatrix.scenarios.judging.snapshots.snapshot import SnapshotStore
from crashmatrix.scenarios.judging.snapshots.tree import Tree
from crashmatrix.scenarios.judging.worker import Found, Hit
from crashmatrix.scenarios.processes.jobs import Job
from crashmatrix.scenarios.processes.stopping import frozen

__all__ = ["Snapshot", "snapshot_job"]

T = TypeVar("T")


@dataclass(frozen=True)
class Snapshot:
    """The folder at one hit. ``journal_bytes`` is how long the journal was."""

    hit: Hit
    tree: Tree
    journal_bytes: int = 0


def snapshot_job(
    job: Job[T], store: SnapshotStore, root: Path, into: list[Snapshot], journal: Path | None = None
) -> tuple[float, Found | None]:
    """Drive a job to its end, or until it has recovered and waits; takes a snapshot of ``root`` at each hit that it reports.

    Returns the seconds that snapshots took, and what a job that waits has recovered.
    """
    copying = 0.0
    while (message := job.next_message()) is not None:
        if isinstance(message, Found):
            return copying, message
        begun = time.monotonic()
        with suppress(ProcessLookupError), frozen(job.process()):  # it died meanwhile
            size = journal.stat().st_size if journal is not None and journal.exists() else 0
            into.append(Snapshot(message, store.capture(root), size))
        job.grant(seconds := time.monotonic() - begun)  # Being copied does not count as being slow.
        copying += seconds
    return copying, None
