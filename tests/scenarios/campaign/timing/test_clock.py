"""A time limit ends whatever runs, once, and leaves time for explanations."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import read_report
from crashmatrix.scenarios.campaign import experiments
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.timing.clock import Clock, TimeUp
from crashmatrix.scenarios.experiment import ExperimentOptions, Explained, Listener
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.processes.interruption import uninterrupted
from crashmatrix.scenarios.processes.jobs import Channel
from tests.scenarios.campaign.test_resume import STORE
from tests.scenarios.toy_experiment import Empty, EmptyExperiment


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


@pytest.mark.parametrize("busy", [False, True])
def test_an_interrupt_lost_in_a_destructor_comes_again(busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a destructor goes no further; the time is up all the same. On a busy machine it comes at once."""
    set_timer = signal.setitimer

    def slowly(*timer: Any) -> None:
        set_timer(*timer)
        time.sleep(0.05)

    class Slow:
        def __del__(self) -> None:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                pass

    with pytest.raises(TimeUp), Clock(60).until(time.monotonic() + 0.2):
        if busy:
            monkeypatch.setattr(signal, "setitimer", slowly)
        thing = Slow()
        del thing
        threading.Event().wait(30)


def test_steps_that_belong_together() -> None:
    """The time that is up in an `uninterrupted` function interrupts what follows it."""
    steps = list[str]()

    @uninterrupted
    def both() -> None:
        steps.append("first")
        time.sleep(0.1)
        steps.append("second")

    with pytest.raises(TimeUp), Clock(60).until(time.monotonic() + 0.02):
        both()
        threading.Event().wait(30)
    assert steps == ["first", "second"]


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


class Endless(EmptyExperiment):
    """Waits for ever once it has judged everything, or when it is to explain. Then the time is up, on any machine."""

    waits_in: str

    def run(self) -> None:
        super().run()
        self._wait("run")

    def explain(self) -> Explained:
        self._wait("explain")
        return super().explain()

    def _wait(self, here: str) -> None:
        if self.waits_in == here:
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)  # Again: a step that may not be interrupted lets one pass.
            self.checker.jobs.run(sleep, 600, seconds_max=600)


def sleep(_: Channel, seconds: float) -> None:
    time.sleep(seconds)


class Waiting(Empty):
    """A kind of experiment that does not come to its end."""

    name = "empty"

    def __init__(self, waits_in: str) -> None:
        self._waits_in = waits_in

    def experiment(
        self, checker: Checker, options: ExperimentOptions, listener: Listener | None = None
    ) -> EmptyExperiment:
        made = Endless(checker, options, listener or Listener())
        made.waits_in = self._waits_in
        return made


@pytest.mark.experiment
@pytest.mark.parametrize(
    ("waits_in", "note"),
    [
        ("run", "the rest of the plan was not run; go on with --resume"),
        pytest.param("explain", "the findings were not explained", marks=pytest.mark.slow),
    ],
)
def test_a_run_ends_in_time(waits_in: str, note: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that would not end by itself writes the report of what it found, and says what it left out."""
    monkeypatch.setitem(experiments.EXPERIMENTS, "empty", Waiting(waits_in))
    campaign = Campaign(Plan(target=STORE, experiments=("empty",), seconds_max=3600, report=tmp_path / "report"))
    campaign.run()
    summary, results = read_report(tmp_path / "report")
    assert summary.interrupted is (waits_in == "run")
    assert results
    if summary.interrupted:
        assert summary.gaps["the rest of the plan"] == (
            "the time limit of 3600 s was reached; go on with --resume, or run again"
        )
    assert any(
        f"the time limit of 3600 s was reached: {note}" in each
        for each in summary.experiments["empty"].details["notes"]
    )
    assert bool(summary.findings) is (waits_in == "run")  # There is time to explain what was found.
    assert (tmp_path / "report" / "resume").exists() is summary.interrupted
