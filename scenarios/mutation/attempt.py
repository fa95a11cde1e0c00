"""One mutant, or none, against a harness: a process of its own that runs experiments until a promise is broken.

``python -m crashmatrix.scenarios.mutation.attempt SETTINGS OUT FILE`` is that process; `attempt` starts it. It writes its outcome
to a file, as a target may print. A process that ends without one failed itself, which says nothing about the mutant.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.experiments import experiment_named
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.until_broken import search
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.experiment import Experiment
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.mutation.bounded import run_bounded
from crashmatrix.scenarios.mutation.results import Outcome

__all__ = ["Settings", "Stage", "attempt", "run_here"]

_ABOUT_MAX = 400


class Stage(msgspec.Struct, frozen=True):
    """An experiment with its budget, as far as it goes before the next one.

    Attributes:
        sampled: the budget bounds everything that is judged: a sample of each kind of crash.
    """

    experiment: str
    budget: int
    filesystems: tuple[str, ...] = ("posix",)
    sampled: bool = True


class Settings(msgspec.Struct, frozen=True):
    """A harness: the target, and stages from the quickest on."""

    target: str
    stages: tuple[Stage, ...]
    seed: int = 0
    options: dict[str, Any] = {}
    workers: int = 1

    def plan(self) -> Plan:
        """The plan of a run with these settings."""
        names = tuple(dict.fromkeys(stage.experiment for stage in self.stages))
        return Plan(target=self.target, options=self.options, experiments=names, seed=self.seed, workers=self.workers)


def attempt(
    settings: Settings,
    environment: Mapping[str, str],
    scratch: Path,
    seconds_max: float,
    stop: threading.Event,
    near: str = "",
) -> Outcome:
    """Run the stages in a new process with this environment. Raises Stopped.

    Args:
        scratch: an empty folder of ours.
        near: the file with the bug: its failpoints come first.
    """
    out, log = scratch / "outcome.json", scratch / "output.txt"
    command = [sys.executable, "-m", __name__, msgspec.json.encode(settings).decode(), str(out), near]
    start = time.perf_counter()
    status = run_bounded(command, environment, log, seconds_max, stop)
    seconds = round(time.perf_counter() - start, 1)
    if status is None:
        return Outcome("timeout", about=f"not done after {seconds_max:.0f} s", seconds=seconds)
    try:
        found = msgspec.json.decode(out.read_bytes(), type=Outcome)
    except (OSError, msgspec.DecodeError):
        last = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        return Outcome("error", about=f"exit status {status}: {''.join(last)[:_ABOUT_MAX]}", seconds=seconds)
    return msgspec.structs.replace(found, seconds=seconds)


def run_here(settings: Settings, near: str = "") -> Outcome:
    """Run the stages in this process, until one breaks a promise; for ``near`` see `attempt`."""
    try:
        done = search(settings.plan(), lambda checker: _experiments(settings, checker, near))
    except EnvironmentLacks as error:
        return Outcome("error", about=str(error)[:_ABOUT_MAX])
    except UsageError as error:
        return Outcome("refused", about=str(error)[:_ABOUT_MAX])
    if done.found is not None:
        return Outcome("broken", done.found.id, done.found.explanation[:_ABOUT_MAX])
    if done.verdict is Verdict.UNKNOWN:
        undecided = next(result for result in done.results if result.verdict is Verdict.UNKNOWN)
        return Outcome("unknown", undecided.id, undecided.explanation[:_ABOUT_MAX])
    return Outcome("survived", about=f"{len(done.results)} scenarios")


def _experiments(settings: Settings, checker: Checker, near: str) -> Iterator[Experiment]:
    options = settings.plan().experiment_options
    for stage in settings.stages:
        chosen = replace(
            options,
            budget=stage.budget,
            filesystems=stage.filesystems,
            until_broken=True,
            sampled=stage.sampled,
            near=near,
            keep_evidence=False,
        )
        kind = experiment_named(stage.experiment)
        if reason := kind.lacking(chosen):
            raise EnvironmentLacks(f"{kind.described(chosen)}: {reason}")
        yield kind.experiment(checker, chosen)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _outcome = run_here(msgspec.json.decode(sys.argv[1], type=Settings), sys.argv[3])
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(_outcome))
