"""Runs tests with a bug in forks of a process that has loaded what they need of others (`warm_process`)."""

from __future__ import annotations

import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.mutation import warm_process
from benchmarks.mutation.warm_process import Request
from crashmatrix.scenarios.mutation.bounded import Stopped
from crashmatrix.scenarios.mutation.overlay import Overlay

__all__ = ["WarmTests"]

_LOOK_SECONDS = 0.2


class WarmTests:
    """The process. For one thread."""

    def __init__(self, folder: Path) -> None:
        """Start it in the folder with the tests. Raises OSError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", warm_process.__name__], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(
        self, arguments: Sequence[str], overlay: Overlay, log: Path, seconds_max: float, stop: threading.Event
    ) -> int | None:
        """Run pytest with these texts; returns its exit status, or None if it took too long. Raises Stopped, OSError."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = Request([*arguments], str(overlay.folder), overlay.environment()["PYTHONPATH"], str(log), seconds_max)
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        self._process.stdin.flush()
        while not select.select([self._process.stdout], [], [], _LOOK_SECONDS)[0]:
            if stop.is_set():
                self.close()
                raise Stopped
        if not (answer := self._process.stdout.readline()):
            raise OSError(f"the process that runs tests ended with status {self._process.wait()}")
        return msgspec.json.decode(answer, type=int | None)

    def close(self) -> None:
        """End it, with the tests that it runs."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
