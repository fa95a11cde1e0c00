"""A run that proves nothing is never safe: runs without a promise, code that ends oddly, failpoints that never fire."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.reports.headline import headline
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import PromiseBroken, UsageError, text_of
from crashmatrix.scenarios.judging.checker import Checked, Checker, CrashState
from crashmatrix.scenarios.judging.undisturbed import judge_undisturbed
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.result import signal_name
from crashmatrix.scenarios.processes.sandbox.view import ROOT_NAME
from crashmatrix.scenarios.target.contract import Violation
from crashmatrix.scenarios.target.journal import Event, Item, Promises
from tests.scenarios.experiments import kill_of, power_of
from tests.scenarios.odd_systems import CLAIMS, ENDS, RETURNS

ODD = "tests.scenarios.odd_systems"
EXPERIMENTS = ("kill", "power")
UNDISTURBED = [
    ("AttemptsOnly", "attempted 3 items and acknowledged none, .*with journal.attempt.*acknowledge.*ack"),
    ("PreparesAndAttempts", "attempted 3 items and acknowledged none"),
    ("Silent", "attempted and acknowledged nothing"),
    ("Idle", "attempted and acknowledged nothing"),
    ("AcknowledgesOnly", "acknowledged 1 without attempting it"),
]
FAILPOINTS = """\
failpoints = ["before_write", "misspelt"]
workload = ["sh", "-ec", '''
echo "attempt 1" >>"$CRASHMATRIX_JOURNAL"
case "$GOFAIL_FAILPOINTS" in *before_write*) echo "failpoint print: FIRED";; esac
echo 1 >>"$CRASHMATRIX_ROOT/data"
echo "ack 1" >>"$CRASHMATRIX_JOURNAL"
''']
recover = ["sh", "-c", 'cat "$CRASHMATRIX_ROOT/data" 2>/dev/null; true']
"""


def results(
    experiment: str, target: str, tmp_path: Path, *, mutant: str = "", budget: int = 24, **options: object
) -> list[ScenarioResult]:
    """Run one experiment; power on the weakest filesystem, which takes no root."""
    plan = Plan(
        target=target, options=options, mutant=mutant, budget=budget, filesystems=("posix",), report=tmp_path / "report"
    )
    with workbench(plan) as (checker, _):
        if experiment == "kill":
            kill = kill_of(plan, checker)
            kill.sample_min, kill.depth_max = 2, 0  # These take most of the time, and have tests of their own.
            kill.run()
            return kill.ordered()
        power = power_of(plan, checker)
        power.restarts = 0
        power.run()
        return power.ordered()


def verdicts(found: list[ScenarioResult]) -> set[str]:
    return {result.verdict.value for result in found}


@pytest.mark.daily(3)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize(("name", "text"), UNDISTURBED)
def test_a_run_without_a_promise_is_unknown(experiment: str, name: str, text: str, tmp_path: Path) -> None:
    """If the undisturbed run promises nothing, nothing is crashed, and the one result says what to do."""
    found = results(experiment, f"{ODD}:{name}", tmp_path)
    assert len(found) == 1
    assert found[0].verdict is Verdict.UNKNOWN
    assert re.search(text, found[0].explanation), found[0].explanation


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_what_was_there_from_the_start_is_a_promise(experiment: str, tmp_path: Path) -> None:
    """A workload that only works on it can break it."""
    assert verdicts(results(experiment, f"{ODD}:Rewrites", tmp_path)) == {"safe"}
    assert "loses" in verdicts(results(experiment, f"{ODD}:RewritesInPlace", tmp_path))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_undisturbed_run_that_breaks_the_contract_is_refused(experiment: str, tmp_path: Path) -> None:
    """No crash is to blame; the error says what was attempted, acknowledged and recovered."""
    with pytest.raises(UsageError, match="in an undisturbed run, so no crash is to blame: hole: ") as caught:
        results(experiment, f"{ODD}:ForgetsTheFirst", tmp_path)
    account = "Attempted 6 items: 0, 1, 2, 3, 4 and 1 more; acknowledged 6 items: 0, 1, 2, 3, 4 and 1 more; recovered 5 items: 1"
    assert account in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_account_of_an_undisturbed_run() -> None:
    """It tells apart what was attempted, acknowledged and recovered."""
    promises = Promises.parse(b"attempt 1\nack 1\nattempt 2\n")
    violation = judge_undisturbed(promises, [3], lambda *_: Violation(Verdict.LOSES, "1 is gone"))
    assert violation is not None
    account = "Attempted 2 items: 1, 2; acknowledged 1 item: 1; recovered 1 item: 3"
    assert violation.explanation == f"1 is gone. {account}"


def state_of(checker: Checker, *items: Item) -> CrashState:
    """The state after these items were stored and acknowledged."""
    root = checker.folder() / ROOT_NAME
    root.mkdir()
    (root / "data").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    events = tuple(Event(kind, item) for item in items for kind in ("attempt", "ack"))
    return CrashState(checker.store.capture(root), Promises((), events))


def judged(ends: Iterable[str], name: str, tmp_path: Path, item: Callable[[str], Item]) -> dict[str, Checked]:
    """How a state with one item is judged if the target ends so by it; the empty state is safe, before and after it."""
    found = {}
    plan = Plan(target=f"{ODD}:{name}", options={"end": "exits"}, report=tmp_path / "report")
    with workbench(plan) as (bench, _):
        for number, end in enumerate(ends):
            scratch = tmp_path / str(number)
            scratch.mkdir()
            checker = Checker(bench.jobs, bench.store, replace(bench.target, options={"end": end}), scratch)
            assert checker.check(state_of(checker)).verdict is Verdict.SAFE
            found[end] = checker.check(state_of(checker, item(end)))
            assert checker.check(state_of(checker)).verdict is Verdict.SAFE
    return found


def test_a_recovery_that_ends_oddly(tmp_path: Path) -> None:
    """A recovery that ends oddly gives its states a verdict, which is never safe."""
    found = judged([*ENDS, *CLAIMS], "OddRecovery", tmp_path, lambda _: 0)
    expected = dict.fromkeys(ENDS, Verdict.CANNOT_OPEN) | dict.fromkeys(CLAIMS, Verdict.UNKNOWN)
    assert {end: checked.verdict for end, checked in found.items()} == expected
    assert all(checked.explanation.encode() for checked in found.values())
    assert "died by signal 40" in found["dies by a real-time signal"].explanation


def test_a_check_that_ends_oddly(tmp_path: Path) -> None:
    """The system's own check says nothing then."""
    found = judged([*ENDS, *CLAIMS], "OddVerify", tmp_path, lambda _: 0)
    assert {end for end, checked in found.items() if checked.verdict is not Verdict.UNKNOWN} == set()


def test_a_contract_that_ends_oddly(tmp_path: Path) -> None:
    """A contract that ends oddly makes those states unknown."""
    found = judged([*ENDS, *RETURNS], "OddContract", tmp_path, lambda end: end)
    assert {end for end, checked in found.items() if checked.verdict is not Verdict.UNKNOWN} == set()


@pytest.mark.daily(2)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize(
    ("name", "end", "verdict"),
    [
        ("OddRecovery", "dies", "cannot-open"),
        ("OddVerify", "closes and reuses them", "unknown"),
        ("OddContract", "ends the process", "unknown"),
    ],
)
def test_a_run_goes_on_after_an_odd_end(experiment: str, name: str, end: str, verdict: str, tmp_path: Path) -> None:
    """The other states of the run have their verdicts."""
    found = results(experiment, f"{ODD}:{name}", tmp_path, end=end)
    assert verdicts(found) == {"safe", verdict}, {result.explanation for result in found}


@pytest.mark.daily(2)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("OddItems", {"safe"}),
        ("YieldsViolations", {"safe"}),
        ("LeavesAProcess", {"safe"}),
        ("FailsWhileYielding", {"cannot-open"}),
    ],
)
def test_what_is_unusual_and_no_fault(experiment: str, name: str, expected: set[str], tmp_path: Path) -> None:
    """Items of classes of their own, generators, processes left behind: each has the verdict it deserves."""
    assert verdicts(results(experiment, f"{ODD}:{name}", tmp_path)) == expected


@pytest.mark.daily(1)
@pytest.mark.skipif(bool(lacking()), reason=lacking())
@pytest.mark.parametrize(("fired", "unknown"), [("before_write", {"misspelt"}), ("", {"before_write", "misspelt"})])
def test_a_listed_failpoint_that_never_fires_is_unknown(fired: str, unknown: set[str], tmp_path: Path) -> None:
    """A program's listed failpoint is crashed at if it fires; if not, the report says what to do."""
    (tmp_path / "store.toml").write_text(FAILPOINTS.replace("FIRED", fired))
    found = results("kill", str(tmp_path / "store.toml"), tmp_path)
    assert {result.point for result in found if result.verdict is Verdict.UNKNOWN} == unknown
    assert {result.point for result in found if result.verdict is Verdict.SAFE} >= {"call.write"} | {fired} - {""}
    text = next(result.explanation for result in found if result.point == "misspelt")
    assert "FailScenario::setup()" in text
    assert "gofail enable" in text


def test_a_class_may_list_failpoints_too(tmp_path: Path) -> None:
    """Listed failpoints are looked for, although the class hits others in Python."""
    found = results("kill", f"{ODD}:Lists", tmp_path)
    assert {result.point for result in found if result.verdict is Verdict.UNKNOWN} == {"never_there"}
    assert verdicts(found) == {"safe", "unknown"}


@pytest.mark.parametrize("verdict", ["safe", "unmountable", "Loses", "", None, 7, [], object()])
def test_no_exception_claims_safety(verdict: object) -> None:
    """Only a broken promise can be claimed."""
    assert PromiseBroken(verdict, "x").verdict is Verdict.UNKNOWN  # type: ignore[arg-type]
    assert PromiseBroken("loses", "x").verdict is Verdict.LOSES


def test_every_signal_has_a_name() -> None:
    """Most real-time signals have none in Python."""
    assert [signal_name(number) for number in (9, 34, 40, 64)] == ["SIGKILL", "SIGRTMIN", "signal 40", "SIGRTMAX"]
    assert text_of("\udcff") == "\\udcff"


@pytest.mark.daily(1)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_planted_bug_may_show_undisturbed(experiment: str, tmp_path: Path) -> None:
    """A planted bug that shows in the undisturbed run counts as found; the run is not refused."""
    found = results(experiment, f"{ODD}:ForgetsTheFirst", tmp_path, mutant="ids-from-zero", budget=4)
    assert "hole" in verdicts(found)


@pytest.mark.daily(1)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_recovery_that_fails_undisturbed_is_the_headline(experiment: str, tmp_path: Path) -> None:
    """Each crash has its verdict, and the headline says that none is to blame."""
    plan = Plan(
        target=f"{ODD}:FailsWhileYielding", budget=12, filesystems=("posix",), experiments=(experiment,),
        report=tmp_path / "report",
    )  # fmt: skip
    campaign = Campaign(plan)
    campaign.run()
    words = f"{experiment}: an undisturbed run is broken already, so no crash is to blame: cannot-open: recovery raised"
    assert headline(campaign.summary).partition("; ")[2].startswith(words)
    assert words in (tmp_path / "report" / "index.html").read_text()


def test_a_run_that_another_experiment_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report of the first experiment says why the second was not run."""

    def refused(_: object) -> None:
        raise UsageError("it breaks its contract")

    monkeypatch.setattr("crashmatrix.scenarios.power.experiment.PowerExperiment.run", refused)
    plan = Plan(target=f"{ODD}:OddItems", budget=4, filesystems=("posix",), report=tmp_path / "report")
    with pytest.raises(UsageError, match="breaks its contract"):
        Campaign(plan).run()
    assert "it breaks its contract" in (tmp_path / "report" / "index.html").read_text()
