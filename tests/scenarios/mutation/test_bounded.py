"""A process that ends in time, or when the run is stopped."""

import os
import sys
import threading
from pathlib import Path

import pytest

from crashmatrix.scenarios.mutation.bounded import Stopped, run_bounded

FOREVER = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_exit_status_and_output(tmp_path: Path) -> None:
    """A process that ends is reported by its status, its output kept."""
    command = [sys.executable, "-c", "import os, sys; print(os.environ['A']); sys.exit(3)"]
    assert run_bounded(command, {**os.environ, "A": "b"}, tmp_path / "log", 600, threading.Event()) == 3
    assert (tmp_path / "log").read_text() == "b\n"


def test_a_process_that_takes_too_long(tmp_path: Path) -> None:
    """It is ended, and has no status."""
    assert run_bounded(FOREVER, os.environ, tmp_path / "log", 0.1, threading.Event()) is None


def test_a_run_that_is_stopped(tmp_path: Path) -> None:
    """A process of a stopped run is ended."""
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        run_bounded(FOREVER, os.environ, tmp_path / "log", 600, stop)
