"""Why a function failed in another process is said here."""

from __future__ import annotations

import os

import pytest

from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.scenarios.saying import Saying


def fails() -> None:
    raise ValueError("the third one is odd")


def test_what_a_function_raised_in_another_process() -> None:
    """Its place and its message, and no stack."""
    with Saying(fails) as saying:
        status = run_forked(saying)
        error = str(saying.failed("the workload", status))
    assert error.startswith("the workload ended with status 1: test_saying.py, line ")
    assert error.endswith(": ValueError: the third one is odd")
    assert "Traceback" not in error


@pytest.mark.parametrize("ends", [lambda: None, lambda: os._exit(7)])
def test_a_function_that_raised_nothing(ends: object) -> None:
    """It may have ended its process by itself."""
    assert callable(ends)
    with Saying(ends) as saying:
        status = run_forked(saying)
        assert str(saying.failed("resume", status)) == f"resume ended with status {status}: it said nothing"
