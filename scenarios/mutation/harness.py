"""A harness that judges mutants: first without a bug, to learn what it executes and how long it takes, then with each bug."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.mutation.attempt import Settings, attempt
from crashmatrix.scenarios.mutation.mutant import SourceMutant
from crashmatrix.scenarios.mutation.overlay import Overlay
from crashmatrix.scenarios.mutation.results import Outcome

__all__ = ["Harness", "Undisturbed", "undisturbed"]

_SECONDS_MIN, _TIMES = 60.0, 4.0
"""How long a mutant may take, at least and as a multiple of the run without a bug. So a timeout is the mutant's doing."""
_BASELINE_SECONDS_MAX = 3600.0


@dataclass(frozen=True)
class Undisturbed:
    """The run without a bug: its outcome, and the lines that it executed of each file."""

    outcome: Outcome
    lines: Mapping[str, frozenset[int] | None]
    """By the file's path; None for a file that was not imported."""

    def not_run(self, mutant: SourceMutant) -> Outcome | None:
        """Return the outcome of a mutant that no run can tell from the original, because nothing executes the bug."""
        lines = self.lines.get(str(mutant.path))
        if lines is None:
            return Outcome("unloaded")
        return Outcome("unreached") if mutant.in_function and mutant.line not in lines else None


def undisturbed(settings: Settings, paths: Iterable[Path], stop: threading.Event) -> Undisturbed:
    """Run the harness without a bug.

    Raises:
        UsageError: the target is not safe to begin with.
    """
    paths = list(paths)
    with tempfile.TemporaryDirectory(prefix="crashmatrix-mutation-") as folder:
        place, scratch = Path(folder, "overlay"), Path(folder, "scratch")
        place.mkdir()
        scratch.mkdir()
        overlay = Overlay(place, {}, paths)
        outcome = attempt(settings, overlay.environment(), scratch, _BASELINE_SECONDS_MAX, stop)
        if outcome.kind != "survived":
            raise UsageError(
                f"{settings.target} must be safe before bugs are planted in it, but is {outcome.kind}: "
                f"{' '.join(filter(None, [outcome.by, outcome.about]))}; `crashmatrix run` shows more"
            )
        return Undisturbed(outcome, {str(path): overlay.lines(path) for path in paths})


@dataclass(frozen=True)
class Harness:
    """Judges mutants with these settings."""

    settings: Settings
    baseline: Undisturbed

    def judge(self, mutant: SourceMutant, stop: threading.Event) -> Outcome:
        """Run the harness with the bug, until a promise is broken. Raises Stopped."""
        if outcome := self.baseline.not_run(mutant):
            return outcome
        limit = max(_SECONDS_MIN, _TIMES * self.baseline.outcome.seconds)
        with tempfile.TemporaryDirectory(prefix="crashmatrix-mutation-") as folder:
            place, scratch = Path(folder, "overlay"), Path(folder, "scratch")
            place.mkdir()
            scratch.mkdir()
            overlay = Overlay(place, {mutant.path: mutant.text()})
            outcome = attempt(self.settings, overlay.environment(), scratch, limit, stop, str(mutant.path))
            return outcome if overlay.was_loaded() or outcome.kind == "error" else Outcome("unloaded")
