"""A run as a bar in a terminal, with the time that it takes still."""

from __future__ import annotations

from rich.console import Console
from rich.progress import TaskID

from crashmatrix.reports import ScenarioResult
from crashmatrix.reports.formats.console import progress
from crashmatrix.scenarios.experiment import Listener

__all__ = ["Bar", "in_words"]


class Bar(Listener):
    """Shows the run; ``bar`` is to be entered."""

    def __init__(self, console: Console) -> None:
        self.bar = progress(console)
        self._task: TaskID = self.bar.add_task("preparing", total=None)
        self._broken = 0
        self._left = ""

    def planned(self, stage: str, total: int) -> None:
        """Show the stage."""
        self.bar.update(self._task, description=stage, total=total)

    def result(self, result: ScenarioResult) -> None:
        """Show how many there are, and how many are broken."""
        self._broken += result.verdict.broken
        broken = f" [red]{self._broken} broken[/]" if self._broken else ""
        self.bar.update(self._task, advance=1, description=f"recovering{broken}{self._left}")

    def time_left(self, seconds: float, each: float = 0.0) -> None:
        """Show the time that is left."""
        del each
        self._left = f", {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """Return a time as one reads it: ``about 40 s``, ``about 3 min``, ``about 2.5 h``."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
