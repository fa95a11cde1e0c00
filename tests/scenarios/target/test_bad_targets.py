"""Any target gets a verdict, or an error of one line that names it; the harness itself never fails."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from tests.processes import alive
from tests.scenarios.bad_systems import LEFT_BEHIND
from tests.scenarios.experiments import kill_of
from tests.scenarios.kill.test_experiment import verdicts

BAD = "tests.scenarios.bad_systems"
SHELL = """\
seconds_max = 20
workload = ["sh", "-ec", '''
for i in 0 1 2; do
    echo "attempt $i" >>"$CRASHMATRIX_JOURNAL"
    WRITE
    echo "ack $i" >>"$CRASHMATRIX_JOURNAL"
done
''']
recover = ["sh", "-c", '''cd "$CRASHMATRIX_ROOT"; RECOVER''']
"""
WRITE, RECOVER = 'echo $i >>"$CRASHMATRIX_ROOT/data"', "cat data 2>/dev/null; true"

pytestmark = [pytest.mark.skipif(bool(lacking()), reason=lacking()), pytest.mark.experiment]

PYTHON = [
    ("Plain", {"safe"}, ""),
    ("RewritesInPlace", {"safe", "loses"}, "acknowledged, but gone: 0 (of 1 acknowledged)"),
    ("RecoverReturnsNothing", {"unknown"}, "recover must return a list of JSON values, not None"),
    ("RecoverReturnsText", {"unknown"}, "recover must return a list of JSON values, not '012'"),
    ("RecoverReturnsMapping", {"unknown"}, "recover must return a list of JSON values, not {1: 2}"),
    ("RecoverExits", {"cannot-open"}, "recovery raised SystemExit: 0"),
    ("RecoverEndsTheProcess", {"cannot-open"}, "recovery exited with status 0"),
    ("RecoverForks", {"safe"}, ""),
    (
        "RecoverDeletesItsRoot",
        {"cannot-open", "loses"},
        "a second recovery raised FileNotFoundError",
    ),
    ("RecoverHangs", {"hangs"}, "recovery was still running at its time limit"),
    ("NeverAcknowledges", {"unknown"}, "attempted 3 items and acknowledged none"),
    ("AcknowledgesWithoutAttempt", {"unknown"}, "acknowledged 1 without attempting it"),
    ("AcknowledgesInDisorder", {"safe"}, ""),
    ("UsesMultiprocessing", {"safe"}, ""),
    ("FloodsItsOutput", {"safe"}, ""),
    ("UsesThreads", {"safe"}, ""),
]
COMMANDS = [
    (WRITE, RECOVER, {"safe"}, ""),
    (f"printf {{ >>$CRASHMATRIX_ROOT/data; {WRITE}", RECOVER, {"safe", "corrupt"}, "must print one JSON value a line; line 1"),
    (WRITE, "exit 3", {"cannot-open"}, "recover exited with status 3"),
    (WRITE, "echo no way >&2; exit 3", {"cannot-open"}, "recover exited with status 3; it said: no way"),
    (WRITE, "kill -SEGV $$", {"cannot-open"}, "recover died by SIGSEGV"),
    (WRITE, f"{RECOVER}; (setsid sleep 600 >/dev/null 2>&1 &)", {"safe"}, ""),
    (f"(setsid sleep 600 &); {WRITE}", RECOVER, {"safe"}, ""),
    (f"({WRITE}) & wait", RECOVER, {"safe"}, ""),
]  # fmt: skip
REFUSED = [
    (
        "WritesGarbageIntoItsJournal",
        "journal line 7 is none of 'attempt <json>', 'ack <json>' and 'fail <json>': b'hello'",
    ),
    ("DeletesItsJournal", "the workload of .* removed or truncated its journal"),
    ("TruncatesItsJournal", "the workload of .* removed or truncated its journal"),
    (
        "WritesOutside",
        "in an undisturbed run.* loses: .*gone: 0, 1, 2.*recovered 0 items.* keep its data outside of its folder",
    ),
    ("DeletesItsRoot", "in an undisturbed run.* loses: acknowledged, but gone: 0, 1, 2"),
    ("WorkloadHangs", "the undisturbed workload of .* ran out of time"),
]
REFUSED_COMMANDS = [
    ("exit 7", "workload exited with status 7"),
    ("echo hello >>$CRASHMATRIX_JOURNAL", "journal line 2 is none of"),
    ('rm -r "$CRASHMATRIX_ROOT"', "workload exited with status 1; it said: rm: cannot remove"),
    (
        'echo $i >"$CRASHMATRIX_ROOT/data"',
        "in an undisturbed run.* hole: acknowledged, but gone: 0, 1.*recovered 1 item: 2",
    ),
    (f'{WRITE}; rm -r "$CRASHMATRIX_ROOT"; mkdir "$CRASHMATRIX_ROOT"', "in an undisturbed run.* recovered 0 items"),
    ('echo "attempt 10000" >"$CRASHMATRIX_JOURNAL"', "removed or truncated its journal"),
    ("printf 'attempt 9' >>$CRASHMATRIX_JOURNAL", "journal line 2 is none of"),
]


def check(target: str, expected: set[str], explanation: str, *, budget: int = 20) -> None:
    plan = Plan(target=target, budget=budget)
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.sample_min = 3  # Real kills take most of the time, and have tests of their own.
        experiment.run()
    results = experiment.ordered()
    if results[-1].verdict.broken and results[-1].point == "workload.end":
        assert experiment.details["undisturbed"]  # The headline says so.
    assert verdicts(results) == expected, {result.explanation for result in results}
    assert any(explanation in result.explanation for result in results)
    assert all("Traceback" not in result.explanation for result in results)
    assert all(result.explanation or result.verdict is Verdict.SAFE for result in results)


def shell(tmp_path: Path, write: str, recover: str) -> str:
    (tmp_path / "shell.toml").write_text(SHELL.replace("WRITE", write).replace("RECOVER", recover))
    return str(tmp_path / "shell.toml")


@pytest.mark.daily(2)
@pytest.mark.parametrize(("name", "expected", "explanation"), PYTHON)
def test_python(name: str, expected: set[str], explanation: str) -> None:
    """A system in Python gets the verdict it deserves, explained."""
    check(f"{BAD}:{name}", expected, explanation, budget=3 if "hangs" in expected else 20)


def test_what_recovery_leaves_behind_is_ended(tmp_path: Path) -> None:
    """A process that a system starts in a session of its own does not outlive the run."""
    check(f"{BAD}:RecoverLeavesDaemon", {"safe"}, "")
    assert alive(found for found in psutil.process_iter(["cmdline", "cwd"]) if is_ours(found)) == []


def is_ours(process: psutil.Process) -> bool:
    """Return whether this test run started the process: it works below this process's scratch folder."""
    ours = f"crashmatrix-{os.getpid()}-" in (process.info["cwd"] or "")
    return ours and process.info["cmdline"] == LEFT_BEHIND


@pytest.mark.daily(1)
@pytest.mark.parametrize(("write", "recover", "expected", "explanation"), COMMANDS)
def test_commands(write: str, recover: str, expected: set[str], explanation: str, tmp_path: Path) -> None:
    """A program that misbehaves gets its verdict."""
    check(shell(tmp_path, write, recover), expected, explanation)


@pytest.mark.daily(2)
@pytest.mark.parametrize(("name", "message"), REFUSED)
def test_refused(name: str, message: str) -> None:
    """A class that fails undisturbed is refused, and the error says what it did."""
    with pytest.raises(ScenarioError, match=message):
        check(f"{BAD}:{name}", set(), "")


@pytest.mark.daily(1)
@pytest.mark.parametrize(("write", "message"), REFUSED_COMMANDS)
def test_refused_commands(write: str, message: str, tmp_path: Path) -> None:
    """A program that fails undisturbed is refused, and the error says what it did."""
    with pytest.raises(ScenarioError, match=message):
        check(shell(tmp_path, write, RECOVER), set(), "")
