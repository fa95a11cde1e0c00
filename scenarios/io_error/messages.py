"""The messages of a job to its driver, and what it returns.

A run with a fault sends, in this order:

    Fired           a call has failed for the first time
    Taken           stop here and copy the folder: the process might be killed now
    Account         the workload has ended, and so have all processes that it started
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from crashmatrix.scenarios.io_error.faults import Fault
from crashmatrix.scenarios.processes.calls.call_faults import Made

__all__ = [
    "CUT",
    "CUT_LATER",
    "KILLED",
    "KILLED_LATER",
    "REMOUNTED",
    "REOPENED",
    "RESUMED",
    "UNCACHED",
    "Account",
    "Fired",
    "Place",
    "Profile",
    "Taken",
    "call_of",
    "files_of",
    "what_failed",
]

_DIGITS = re.compile(r"\d+")

KILLED, KILLED_LATER = "killed", "killed-later"
"""Killed at a step after the fault, up to the next line of the journal; and at the first step after the next acknowledgement."""

REOPENED, RESUMED = "reopened", "resumed"
"""The workload came to its own end, and the system is opened again; then it also goes on, and is opened once more."""

UNCACHED = "uncached"
"""The page cache is dropped, and with it what a failed sync left there: once the next item is acknowledged; once one is that
follows an unlink, a rename or a truncation, which may remove the other copy; and at the end."""

REMOUNTED, CUT, CUT_LATER = "remounted", "cut", "cut-later"
"""On a recorded disk: mounted again after the workload's own end; after a power cut right after the fault; after a later one."""


def what_failed(name: str, files: str) -> str:
    """Return a call and the files it is about, without their numbers: equal in runs that take other steps."""
    return f"{name} {_DIGITS.sub('#', files)}"


def call_of(name: str, files: str) -> str:
    """Return a call and the files it is about, in words; msync and syncfs name no file."""
    return f"{name} of {files}" if files else name


_real = cache(os.path.realpath)


def files_of(made: Made, root: Path) -> str:
    """The files that a call is about, relative to the folder: ``db.tmp -> db``."""
    inside = _real(root)
    names = [os.path.relpath(path, inside) if path.startswith(inside) else path for path in made.files]
    return " -> ".join("the folder" if name == "." else name for name in names)


@dataclass(frozen=True)
class Place:
    """A call of the workload that can be made to fail. ``stack`` tells calls from different places of a program apart."""

    made: Made
    files: str
    line: str = ""
    stack: str = ""


@dataclass(frozen=True)
class Profile:
    """An undisturbed run: its calls in order, and what of it cannot be made to fail, in words."""

    places: tuple[Place, ...]
    uncovered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fired:
    """The first call that failed. ``journal_bytes`` is how long the journal was then."""

    place: Place
    journal_bytes: int


@dataclass(frozen=True)
class Taken:
    """The process has stopped, or its tree is held: the folder is what a kill would leave. ``ending`` says which kill.

    ``uncached`` are the files, with their content, that would change if the page cache were dropped now.
    """

    ending: str
    uncached: dict[str, bytes] = field(default_factory=dict)
    after: str = ""
    """The last call or failpoint before, in words, if the process has made further ones since the fault."""


@dataclass(frozen=True)
class Account:
    """The calls of a run. ``since`` are those from the first one on that failed.

    ``uncached`` are the files that change if the page cache is dropped at the end. ``steps`` has calls and journal lines in
    their order, if they were to be kept.
    """

    since: tuple[Made, ...]
    fired: tuple[Fault, ...]
    uncached: dict[str, bytes] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    of_class: tuple[tuple[int, str], ...] = ()
    """The calls of the first fault's class, or hits of its failpoint: their numbers, and what they are about (`what_failed`)."""
    requests: int = 0
    """How many requests of the disk failed."""

    @property
    def failed(self) -> int:
        """How many calls or requests failed, or were done in part."""
        return self.requests + sum(made.answer is not None for made in self.since)
