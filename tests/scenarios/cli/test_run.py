"""``crashmatrix run`` with several targets: what is shown, the exit status, and the directory of their reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.campaign.experiments import MEANT_FOR, experiment_named
from crashmatrix.scenarios.systems import BUILT_IN
from tests.scenarios.command_line import crashmatrix

pytestmark = pytest.mark.experiment

KILL = ("--experiments", "kill", "--budget", "12")
FILE = """
from tests.scenarios.toy_systems import Buffered, Store
class Fine(Store): ...
class Forgets(Buffered): ...
class Finer(Store): ...
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(FILE)
    return tmp_path


def test_a_pattern_means_each_system_of_a_file(here: Path) -> None:
    """The findings are those of the targets that are broken; the table has them all, and the worst verdict is the run's."""
    run = crashmatrix("run", "mine.py:*", "mine.py:Fine", *KILL, cwd=here)
    assert run.returncode == 1, run.stdout + run.stderr
    lines = [line.split() for line in run.stdout.splitlines()]
    table = lines[lines.index(["target", "verdict", "scenarios", "findings", "seconds"]) + 1 :]
    assert [line[:2] for line in table[:3]] == [
        ["mine.py:Fine", "safe"],
        ["mine.py:Forgets", "loses"],
        ["mine.py:Finer", "safe"],
    ]
    assert run.stdout.splitlines()[-1] == "loses: 1 of 3 targets, safe: 2  reports: crashmatrix-reports"
    command = next(line for line in run.stdout.splitlines() if line.startswith("  again: "))
    assert command.endswith("--report crashmatrix-reports/mine.py_Forgets")
    again = crashmatrix(*command.split()[2:], cwd=here)
    assert again.returncode == 1
    shown = crashmatrix("report", "crashmatrix-reports", cwd=here)
    assert shown.returncode == 1
    assert run.stdout.endswith(shown.stdout)


def test_several_safe_targets(here: Path) -> None:
    """Their directory has a report for each; a single run does not take it for its own."""
    run = crashmatrix("run", "mine.py:Fin*", *KILL, "--report", "mine", cwd=here)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == "safe: 2 of 2 targets  reports: mine"
    assert sorted(path.name for path in (here / "mine").iterdir()) == [
        *("index.html", "mine.py_Fine", "mine.py_Finer", "run.lock", "summary.md", "targets.json")
    ]  # fmt: skip
    one = crashmatrix("run", "mine.py:Fine", *KILL, "--report", "mine", cwd=here)
    assert one.returncode == 2
    assert "mine holds files that do not belong to a report" in one.stderr


def test_a_target_that_cannot_be_run(here: Path) -> None:
    """It is unknown, the others are run, and the last lines say why."""
    run = crashmatrix("run", "tests.scenarios.toy_systems:DiesByItself", "mine.py:Fine", *KILL, cwd=here)
    assert run.returncode == 3, run.stdout + run.stderr
    assert "DiesByItself: not run: the undisturbed workload" in run.stdout
    assert run.stdout.splitlines()[-1] == "unknown: 1 of 2 targets, safe: 1  reports: crashmatrix-reports"


@pytest.mark.parametrize(
    ("arguments", "plans"),
    [
        (["reference:threads"], ["kill"]),
        (["reference:threads", "--experiments", "power"], ["power"]),
        (["reference-log", "--fs", "xfs"], ["kill,power"]),
        (["reference-log", "reference:threads"], ["", "kill"]),
    ],
)
def test_the_experiments_that_a_target_is_meant_for(arguments: list[str], plans: list[str], here: Path) -> None:
    """Without names, a run makes those; with names, any."""
    first = "campaign.Campaign.run = lambda run: print('plan', ','.join(run.plan.experiments))"
    run = crashmatrix("run", *arguments, cwd=here, first=first)
    assert [line[5:] for line in run.stdout.splitlines() if line.startswith("plan")] == plans, run.stdout + run.stderr
    assert all(target in BUILT_IN and all(map(experiment_named, names)) for target, names in MEANT_FOR.items())
