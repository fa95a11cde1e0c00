"""Failpoints of programs that return an error or panic: which hit does so, how it is seen, and what becomes of the store."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.io_error.faults import ActionFault, parse_fault
from crashmatrix.scenarios.io_error.outside import environment_of
from crashmatrix.scenarios.io_error.runs import begin
from crashmatrix.scenarios.io_error.trying import TryFaults
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.systems.command_file import read_spec

PROGRAM = """\
import json, os, sys
from crashmatrix.faults import declare

PUT = declare("store.put", "nothing is written")
OTHER = declare("store.other", "never fails")
path, journal = os.path.join(os.environ["CRASHMATRIX_ROOT"], "log"), os.environ.get("CRASHMATRIX_JOURNAL")

def line(text):
    with open(journal, "a") as file:
        file.write(text + "\\n")

if sys.argv[1] == "fill":
    for item in range(4):
        line(f"attempt {item}")
        OTHER.hit()
        if PUT.hit() is not None:  # An error was returned.
            if "swallow" not in sys.argv:
                line(f"fail {item}")
                continue
        else:
            with open(path, "a") as file:
                file.write(f"{item}\\n")
        line(f"ack {item}")
elif os.path.exists(path):
    sys.stdout.write(open(path).read())
"""

TARGET = """\
workload = [{python!r}, {program!r}, "fill", {how!r}]
recover = [{python!r}, {program!r}, "dump"]
failpoints = ["store.put", "store.other"]
[failing]
"store.put" = ["return(EIO)", "panic"]
"""


@pytest.mark.parametrize(
    ("fault", "actions"),
    [
        (ActionFault("b", 1, "return"), "1*return->{b}"),
        (ActionFault("b", 3, "return(x)"), "2*{b}->1*return(x)->{b}"),
        (ActionFault("b", 3, "panic", "on"), "2*{b}->panic"),
    ],
)
def test_one_hit_fails_and_all_others_show(fault: ActionFault, actions: str) -> None:
    """Both libraries get it in the language that they share."""
    found = environment_of(["a", "b"], fault)
    sleep = re.fullmatch(r"a=(sleep\(\d+\));b=.*", found["FAILPOINTS"])
    assert sleep
    visible = found["FAILPOINTS"].partition(";b=")[2]
    number = int(re.sub(r"\D", "", sleep[1])) + 1000
    assert visible == actions.format(b=f"sleep({number})")
    assert found["GOFAIL_FAILPOINTS"] == f"a=print;b={actions.format(b='print')}"
    faults.parse(visible)
    assert parse_fault(str(fault)) == fault


def target(tmp_path: Path, how: str) -> Path:
    program = tmp_path / "store.py"
    program.write_text(PROGRAM)
    path = tmp_path / "store.toml"
    path.write_text(TARGET.format(python=sys.executable, program=str(program), how=how))
    return path


@pytest.mark.experiment
@pytest.mark.skipif(bool(lacking()), reason=lacking())
@pytest.mark.parametrize("how", ["swallow", pytest.param("report", marks=pytest.mark.slow)])
def test_a_program_that_swallows_it_is_found_out(tmp_path: Path, how: str) -> None:
    """An item that the failpoint kept out, and that is acknowledged all the same, is gone; every fault is seen to fire."""
    plan = Plan(target=str(target(tmp_path, how)), experiments=("io-error",), budget=18, report=tmp_path / "report")
    campaign = Campaign(plan)
    campaign.run()
    results = [result for result in campaign.results if "failpoint" in result.point]
    returned = {result.verdict for result in results if "return" in result.point}
    panicked = {result.verdict for result in results if "panic" in result.point}
    assert returned
    assert all(verdict.broken if how == "swallow" else verdict is Verdict.SAFE for verdict in returned)
    assert panicked == {Verdict.SAFE}
    assert {result.method for result in results} == {"reopened"}


@pytest.mark.experiment
@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_the_last_hit_fails_in_place_of_one_that_is_not_reached(tmp_path: Path) -> None:
    """A program that passes its failpoint less often than before is tried at its last hit."""
    with workbench(Plan(target=str(target(tmp_path, "report")), experiments=("io-error",))) as (checker, _):
        task = TryFaults(begin(checker), ExperimentOptions())
        (tried,) = task.carry_out(checker, [ActionFault("store.put", 9, "return(EIO)")])
    assert (tried.fault, tried.fired) == (str(ActionFault("store.put", 4, "return(EIO)")), True)


@pytest.mark.parametrize(
    ("line", "text"),
    [('"store.put" = ["sleep(1)"]', "failing must be a table"), ('"store.put" = "return"', "failing must be a table")],
)
def test_other_actions_are_refused(tmp_path: Path, line: str, text: str) -> None:
    """Only actions that are errors make a failpoint fail."""
    path = tmp_path / "t.toml"
    path.write_text(f'workload = "true"\nrecover = "true"\nfailpoints = ["store.put"]\n[failing]\n{line}\n')
    with pytest.raises(UsageError, match=text):
        read_spec(path)
