"""An error at any failpoint of any operation, whatever comes after it: nobody is locked out, nothing is lost or doubled."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crashmatrix import faults
from tests.reference_wal.sweep import TRIGGERS, Log, Sweep, Trigger, follow_ups, hits_of, make_bases

POINTS = [point.name for point in faults.catalogue() if "/reference_wal/" in point.location]
ERRORS = ("EIO", "ENOSPC")


class Plan:
    """The folders that scenarios begin with, and which triggers pass which failpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bases = make_bases(folder)
        self.triggers: dict[str, list[Trigger]] = {}
        for number, trigger in enumerate(TRIGGERS):
            for point in hits_of(trigger, self.bases, folder / f"dry-{number}"):
                self.triggers.setdefault(point, []).append(trigger)

    def of_engine_and_log(self, point: str) -> list[list[Trigger]]:
        """Return what passes the failpoint in the engine, and what does in the log by itself; not what has none."""
        engine, log = list[Trigger](), list[Trigger]()
        for trigger in self.triggers[point]:
            (log if trigger.system is Log else engine).append(trigger)
        return [found for found in (engine, log) if found]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return Plan(tmp_path_factory.mktemp("sweep"))


def struck(trigger: Trigger, point: str, error: str, plan: Plan, root: Path) -> Sweep:
    """Return the scenario after its error; the fault is gone again, and has struck."""
    sweep = Sweep.begin(trigger, plan.bases, root)
    with faults.scenario(f"{point}=raise({error})"):  # Raises ScenarioNotHit if it never fired.
        sweep.strike()
    return sweep


def then_all(trigger: Trigger, point: str, error: str, plan: Plan, root: Path) -> None:
    """Do everything else after the error; in the opposite order as well, if any of it is taken."""
    for number, order in enumerate((follow_ups(trigger.system), follow_ups(trigger.system)[::-1])):
        sweep = struck(trigger, point, error, plan, root / str(number))
        goes_on = sweep.goes_on
        for operation in order if sweep.system is not None else ():
            sweep.perform(operation)
        sweep.finish()
        if not goes_on:
            return


@pytest.mark.lengthy
@pytest.mark.daily(18)
@pytest.mark.parametrize("point", POINTS)
def test_an_error_and_all_that_may_follow(point: str, plan: Plan, tmp_path: Path) -> None:
    """After an error every other operation works or is refused by an error of ours; what reopening finds is what was promised."""
    assert plan.triggers.get(point), f"no trigger passes {point}; add one to tests/reference_wal/sweep.py"
    for triggers in plan.of_engine_and_log(point):
        error = ERRORS[POINTS.index(point) // 2 % 2]
        then_all(triggers[0], point, error, plan, tmp_path / triggers[0].system.__name__)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("point", POINTS)
def test_an_error_in_every_operation_that_passes(point: str, error: str, plan: Plan, tmp_path: Path) -> None:
    """The same holds for an error in each operation that hits the failpoint, followed by each operation by itself."""
    for trigger in plan.triggers[point]:
        then_all(trigger, point, error, plan, tmp_path / trigger.name)
        for number, alone in enumerate(follow_ups(trigger.system)):
            sweep = struck(trigger, point, error, plan, tmp_path / trigger.name / f"alone-{number}")
            if not sweep.goes_on:
                break
            sweep.perform(alone)
            sweep.finish()
        shutil.rmtree(tmp_path / trigger.name)
