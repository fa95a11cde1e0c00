"""A run that proves nothing is never safe: runs without a promise, code that ends oddly, failpoints that never fire."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.reports.headline import headline
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import PromiseBroken, UsageError, text_of
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.result import signal_name
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
CLOSING = {"closes descriptors", "closes and reuses them"}
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


@pytest.mark.daily(10)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("end", [*ENDS, *CLAIMS])
def test_a_recovery_that_ends_oddly(experiment: str, end: str, tmp_path: Path) -> None:
    """A recovery that ends oddly gives its states a verdict, which is never safe."""
    found = results(experiment, f"{ODD}:OddRecovery", tmp_path, end=end)
    assert verdicts(found) == {"safe", "unknown" if end in CLAIMS else "cannot-open"}
    assert all(result.explanation.encode() for result in found if result.verdict is not Verdict.SAFE)
    if end == "dies by a real-time signal":
        assert any("died by signal 40" in result.explanation for result in found)


@pytest.mark.daily(10)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("end", [*ENDS, *CLAIMS])
def test_a_check_that_ends_oddly(experiment: str, end: str, tmp_path: Path) -> None:
    """The system's own check says nothing then."""
    assert verdicts(results(experiment, f"{ODD}:OddVerify", tmp_path, end=end)) == {"safe", "unknown"}


@pytest.mark.daily(10)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
@pytest.mark.parametrize("end", [*ENDS, *RETURNS])
def test_a_contract_that_ends_oddly(experiment: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contract that ends oddly makes those states unknown; the run goes on."""
    monkeypatch.setenv("ODD_END", end)
    monkeypatch.setenv("CRASHMATRIX_PRELOAD", end)  # Another fork server, with that environment.
    found = results(experiment, f"{ODD}:OddContract", tmp_path)
    assert verdicts(found) == {"safe", "unknown"}, {result.explanation for result in found}


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


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_planted_bug_may_show_undisturbed(experiment: str, tmp_path: Path) -> None:
    """A planted bug that shows in the undisturbed run counts as found; the run is not refused."""
    found = results(experiment, f"{ODD}:ForgetsTheFirst", tmp_path, mutant="ids-from-zero", budget=4)
    assert "hole" in verdicts(found)


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
