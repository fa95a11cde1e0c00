"""A process that ends in time, or when the run is stopped."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Stopped", "run_bounded"]

_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 20
"""For an interrupted process to remove its scratch files."""


class Stopped(Exception):
    """The run was stopped before the process ended."""


def run_bounded(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    seconds_max: float,
    stop: threading.Event,
    folder: Path | None = None,
) -> int | None:
    """Run a command, its output to a file; returns its exit status, or None if it took too long. Raises Stopped, OSError."""
    deadline = time.monotonic() + seconds_max
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while not stop.is_set():
            try:
                return process.wait(min(_LOOK_SECONDS, max(deadline - time.monotonic(), 0)))
            except subprocess.TimeoutExpired:
                if time.monotonic() >= deadline:
                    return None
        raise Stopped
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt it, so that it cleans up; kill it if it does not end."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
