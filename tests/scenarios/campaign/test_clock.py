"""A time limit ends whatever runs, once, and leaves time for explanations."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from crashmatrix.scenarios.campaign.clock import Clock, TimeUp


def test_time_up() -> None:
    """The block is interrupted, also in a wait; afterwards nothing is left of the alarm."""
    before = signal.getsignal(signal.SIGALRM)
    clock = Clock(60)
    with pytest.raises(TimeUp), clock.until(time.monotonic() + 0.02):
        threading.Event().wait(30)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    with pytest.raises(TimeUp), clock.until(time.monotonic() - 1):  # It is up already.
        threading.Event().wait(30)


def test_an_interrupt_lost_in_a_destructor_comes_again() -> None:
    """An exception in a destructor goes no further; the time is up all the same."""

    class Slow:
        def __del__(self) -> None:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                pass

    with pytest.raises(TimeUp), Clock(60).until(time.monotonic() + 0.02):
        thing = Slow()
        del thing
        threading.Event().wait(30)


def test_shares() -> None:
    """Each experiment has an equal share of what is left, a quarter of it for explanations; without a limit there is none."""
    assert Clock(None).share(2) is None
    with Clock(None).until(None):
        pass
    now = time.monotonic()
    share = Clock(1000).share(2)
    assert share is not None
    assert share.run - now == pytest.approx(375, abs=60)
    assert share.explain - share.run == pytest.approx(125, abs=1)
