"""Tasks for clusters, apart from the tests: workers import them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.judging.tasks.pool import Task


@dataclass(frozen=True)
class Doubling(Task[Checker, int, int]):
    """Doubles numbers; kills its process at one of them, reads a file that travels with it, or takes long."""

    result = int
    experiment: str = "kill"  # type: ignore[misc]
    deadly: int = -1
    file: Path | None = None
    seconds: float = 0.0

    def key(self, item: int) -> str:
        return f"double {item} {self.deadly} {self.file} {self.seconds}"

    def files(self) -> tuple[Path, ...]:
        return (self.file,) if self.file else ()

    def moved(self, files: tuple[Path, ...]) -> Doubling:
        return Doubling(self.experiment, self.deadly, files[0])

    def carry_out(self, checker: Checker, item: int) -> int:
        if item == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        return 2 * item + (int(self.file.read_text()) if self.file else 0)

    def lost(self, item: int, reason: str) -> int:
        return -1
