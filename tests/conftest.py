"""Skips what this machine cannot run, with the reason; in continuous integration that is a failure."""

import os
import signal

import pytest

from crashmatrix.faults.disk import requirements

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # As in the background of a shell script; our children inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def disk() -> None:
    """Ask for it in each test that records or mounts."""
    missing = requirements()
    if not missing:
        return
    reason = "; ".join(map(str, missing))
    if os.environ.get("CI") == "true":
        pytest.fail(f"continuous integration must be able to run this: {reason}")
    pytest.skip(reason)
