"""The power experiment gives each system the verdict that its documentation implies, and replays what it found."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.mutation import try_mutant
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.replay import replay
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.power import exploring
from crashmatrix.scenarios.power.experiment import Power, PowerExperiment
from crashmatrix.scenarios.power.results import parse_power_id
from crashmatrix.scenarios.power.rounds import NUDGES, RESTARTS, STATES_MAX
from tests.processes import alive, descendants
from tests.scenarios.command_line import CRASHMATRIX
from tests.scenarios.experiments import power_of

TOYS = "tests.scenarios.toy_systems"


pytestmark = [pytest.mark.usefixtures("disk"), pytest.mark.experiment]


COMMITS_SELDOM = "ext4:commit=300"
"""The kernel commits unsynced changes only after five minutes, however busy the machine is."""

SAFE, BROKEN = ("mixed", "storm"), ("writeback",)
"""Nudges for systems that must never break, and those under which nothing is durable that a system did not sync itself: what it
owes then is missing in some state, whatever the kernel writes."""


def run(
    target: str,
    tmp_path: Path,
    *,
    budget: int = 40,
    seed: int = 0,
    fs: str = "ext4",
    nudges: tuple[str, ...] = ("mixed",),
    restarts: int = 0,
) -> PowerExperiment:
    plan = Plan(target=target, budget=budget, seed=seed, filesystems=(fs,), report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.nudges, experiment.restarts = nudges, restarts
        experiment.run()
    return experiment


def run_with_report(
    target: str, report: Path, monkeypatch: pytest.MonkeyPatch, *, budget: int, nudges: tuple[str, ...]
) -> list[ScenarioResult]:
    """A run whose scenarios can be replayed, of few recordings."""

    whole = Power.experiment

    def few(*arguments: Any) -> PowerExperiment:
        experiment = whole(*arguments)
        experiment.nudges, experiment.restarts = nudges, 0
        return experiment

    monkeypatch.setattr(Power, "experiment", few)
    plan = Plan(target=target, budget=budget, filesystems=(COMMITS_SELDOM,), experiments=("power",), report=report)
    running = Campaign(plan)
    running.run()
    return running.results


def verdicts(experiment: PowerExperiment) -> set[str]:
    return {result.verdict.value for result in experiment.ordered()}


EXPECTED = [
    ("sqlite:wal-normal", {"safe", "loses"}),
    ("replace:fsync-dir", {"safe"}),  # The third of each four runs each day.
    ("sqlite:delete-full", {"safe", "loses"}),
    ("sqlite:delete-extra", {"safe"}),
    ("lmdb:nometasync", {"safe", "loses"}),
    ("lmdb:default", {"safe"}),
    ("sqlite:wal-full", {"safe"}),
    ("replace:fsync", {"safe", "loses"}),
    ("lmdb:writemap", {"safe"}),
    (f"{TOYS}:Synced", {"safe"}),
    (f"{TOYS}:SilentOnDisk", {"unknown"}),
    (f"{TOYS}:Unsynced", {"safe", "loses"}),
]


@pytest.mark.daily(3)
@pytest.mark.parametrize(("target", "expected"), EXPECTED)
def test_verdict_of_a_system(target: str, expected: set[str], tmp_path: Path) -> None:
    """On ext4, the system loses what its documentation says it may lose, and nothing else."""
    nudges, budget = (SAFE, 60) if expected == {"safe"} else (BROKEN, 40)
    assert verdicts(run(target, tmp_path, budget=budget, nudges=nudges, fs=COMMITS_SELDOM)) == expected


@pytest.mark.parametrize(
    ("toy", "budget", "draws"),
    [("Synced", STATES_MAX, [1, 2]), ("Synced", STATES_MAX - 1, [1]), ("Unsynced", STATES_MAX, [1])],
)
def test_a_second_round_of_recordings(toy: str, budget: int, draws: list[int], tmp_path: Path) -> None:
    """The budget that the first round leaves goes to another one, unless something broke or the budget is a small one."""
    experiment = run(f"{TOYS}:{toy}", tmp_path, budget=budget, nudges=("writeback",))
    recordings = [each for each in experiment.details["recordings"] if not each["recovery_of"]]
    assert [each["draw"] for each in recordings] == draws
    assert [each["name"] for each in recordings] == [
        f"ext4~{kind}~0" for kind in ("writeback", "writeback2")[: len(draws)]
    ]


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    "target", ["sqlite:wal-off", "sqlite:delete-off", "lmdb:nosync", "deltalake:plain", "replace:none"]
)
def test_unsynced_systems_break_promises(target: str, tmp_path: Path) -> None:
    """A system that syncs nothing loses acknowledged items, or worse."""
    found = verdicts(run(target, tmp_path, nudges=BROKEN, fs=COMMITS_SELDOM))
    assert {"loses", "cannot-open", "corrupt", "hole"} & found


@pytest.mark.parametrize(
    ("fs", "seed", "nudges", "restarts"),
    [
        ("ext4", 1, ("mixed",), 0),
        pytest.param("ext4", 1, ("mixed",), 1, marks=pytest.mark.slow),
        pytest.param("ext4", 1, NUDGES, 1, marks=pytest.mark.slow),
        pytest.param("xfs", 2, NUDGES, 1, marks=pytest.mark.slow),
        pytest.param("btrfs", 3, NUDGES, 1, marks=pytest.mark.slow),
    ],
)
def test_reference_engine_is_safe(
    fs: str, seed: int, nudges: tuple[str, ...], restarts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference engine keeps every promise through power cuts."""
    monkeypatch.setattr(exploring, "LIVES_MIN", 2 * len(nudges))  # Each takes as long as the workload.
    budget = 10 * (len(nudges) + restarts)
    experiment = run("reference", tmp_path, budget=budget, seed=seed, fs=fs, nudges=nudges, restarts=restarts)
    assert verdicts(experiment) == {"safe"}
    assert any(result.method == "power-cut" for result in experiment.ordered())
    recordings = experiment.details["recordings"]
    assert len({recording["trace"] for recording in recordings}) == len(recordings)
    assert sum(bool(recording["killed_at"]) for recording in recordings) == restarts
    resumed = [recording for recording in recordings if recording["resumed"]]
    recoveries = [recording for recording in recordings if recording["recovery_of"] and recording not in resumed]
    assert (len(recoveries), len(resumed)) == (len(nudges) + restarts, 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["no-sync-record", "no-sync-commit"])
def test_missing_sync_is_found(name: str) -> None:
    """The reference engine without one sync breaks a promise, and the experiment finds where."""
    found = try_mutant(name)
    assert found.found is not None
    assert found.found.experiment == "power"


def test_power_going_again_during_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery that is safe unless it is cut short is found, and replayed from the kept trace of that recovery."""
    report = tmp_path / "report"
    found_all = run_with_report(f"{TOYS}:MovesOnRecovery", report, monkeypatch, budget=200, nudges=BROKEN)
    assert all(result.verdict is Verdict.SAFE for result in found_all if not result.depth)
    broken = [result for result in found_all if result.depth and result.verdict is not Verdict.SAFE]
    assert all(result.explanation.startswith("power went again during the recovery from ") for result in broken)
    found = replay(broken[0].id, report, tmp_path / "kept")
    assert found.checked.verdict is broken[0].verdict
    assert (tmp_path / "kept" / "journal").read_text().startswith("attempt ")


@pytest.mark.daily(1)
@pytest.mark.parametrize("store", ["BelievesTheCache", "BelievesTheCacheUnseen"])
def test_power_going_after_a_restart(store: str, tmp_path: Path) -> None:
    """Recovery that builds upon what only the page cache has is found once the process is killed before the power goes."""
    experiment = run(f"{TOYS}:{store}", tmp_path, budget=100, restarts=RESTARTS)
    broken = [result for result in experiment.ordered() if result.verdict is not Verdict.SAFE]
    assert {result.verdict for result in broken} == {Verdict.CANNOT_OPEN}
    assert all("~restart" in result.point for result in broken)


def test_recovery_that_fails_after_a_restart_spoils_that_recording_only(tmp_path: Path) -> None:
    """If a kill alone breaks recovery, that recording is reported as unknown, and all others are judged."""
    experiment = run(f"{TOYS}:FailsOnceKilled", tmp_path, restarts=RESTARTS)
    unknown = [result for result in experiment.ordered() if result.verdict is Verdict.UNKNOWN]
    assert unknown and all(
        "~restart" in result.point and "restarted: it could not go on" in result.explanation for result in unknown
    )
    assert any(result.verdict is Verdict.SAFE for result in experiment.ordered())


def test_a_full_disk_is_told_with_the_remedy(tmp_path: Path) -> None:
    """A system that allocates ahead has room, unless it names a size that is too small: the error then names the remedy."""
    with pytest.raises(UsageError, match=r"No space left on device.*its disk has 16 MiB; give it more by disk_bytes"):
        run(f"{TOYS}:AllocatesAhead", tmp_path)
    assert verdicts(run(f"{TOYS}:AllocatesAheadWithRoom", tmp_path, budget=20)) == {"safe"}


def test_death_by_signal_is_a_verdict(tmp_path: Path) -> None:
    """Recovery that dies by a signal cannot open its data; the signal is named."""
    experiment = run(f"{TOYS}:DiesOnOddRecovery", tmp_path)
    broken = {result.explanation for result in experiment.ordered() if result.verdict is Verdict.CANNOT_OPEN}
    assert broken == {"recovery died by SIGBUS"}


@pytest.mark.slow
def test_hanging_is_a_verdict(tmp_path: Path) -> None:
    """Recovery that never ends is stopped at its time limit."""
    assert verdicts(run(f"{TOYS}:HangsOnDisk", tmp_path, budget=5)) == {"hangs"}


def test_a_workload_that_fails_is_refused(tmp_path: Path) -> None:
    """A workload that dies by itself is the user's mistake: the run is refused."""
    with pytest.raises(UsageError, match="recording"):
        run(f"{TOYS}:DiesByItself", tmp_path)


def test_replay_rebuilds_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the report directory alone, the same state has the same verdict; `--keep` leaves tree, image and journal."""
    report = tmp_path / "report"
    found_all = run_with_report(f"{TOYS}:Unsynced", report, monkeypatch, budget=40, nudges=BROKEN)
    broken = next(result for result in found_all if result.verdict is Verdict.LOSES)
    found = replay(broken.id, report, tmp_path / "kept")
    assert (found.checked.verdict, found.checked.explanation) == (Verdict.LOSES, broken.explanation)
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"crashed", "image", "journal"}
    assert (tmp_path / "kept" / "journal").read_text().startswith("attempt ")
    with pytest.raises(UsageError, match="only those with findings are kept"):
        replay("power:ext4~calm~9:1-all", report, None)


def test_killing_crashmatrix_leaves_nothing(tmp_path: Path) -> None:
    """A SIGKILL in the middle leaves no mount, loop device or process behind."""
    command = [*CRASHMATRIX, "run", "sqlite:wal-full", "--experiments", "power", "--report", "report"]
    run_ = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    results = tmp_path / "report" / "results.jsonl"
    deadline = time.monotonic() + 200
    while not (results.exists() and results.stat().st_size) and time.monotonic() < deadline and run_.poll() is None:
        time.sleep(0.02)
    children = descendants(run_.pid)
    run_.send_signal(signal.SIGKILL)
    run_.wait()
    assert len(children) >= 2
    assert alive(children) == []
    pids = {str(child.pid) for child in children}
    while time.monotonic() < deadline and (left := _loop_devices(pids)):
        time.sleep(0.02)
    assert not left
    assert "crashmatrix" not in Path("/proc/self/mountinfo").read_text()


def test_interrupt_keeps_what_was_found(tmp_path: Path) -> None:
    """Ctrl-C in the middle: exit status 130 within seconds, and a report that says so."""
    command = [
        *CRASHMATRIX,
        "run",
        "sqlite:wal-full",
        "--experiments",
        "power",
        "--budget",
        "100000",
        "--report",
        "report",
    ]
    run_ = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    results = tmp_path / "report" / "results.jsonl"
    deadline = time.monotonic() + 200
    while not (results.exists() and results.stat().st_size) and time.monotonic() < deadline and run_.poll() is None:
        time.sleep(0.02)
    run_.send_signal(signal.SIGINT)
    output, errors = run_.communicate(timeout=250)
    assert run_.returncode == 130, output + errors
    assert "interrupted" in output
    assert "Traceback" not in errors
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["interrupted"]


def _loop_devices(pids: set[str]) -> list[str]:
    """Loop devices whose file one of these processes had made in memory or under its recorder."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            name = backing.read_text()
        except OSError:
            continue
        if "image-" in name and any(pid in name for pid in pids):
            found.append(name)
    return found


@pytest.mark.parametrize(("text", "parts"), [("power:ext4~mixed~0:46-all-t2.13+1", ("ext4~mixed~0", "46-all-t2.13+1"))])
def test_ids(text: str, parts: tuple[str, str]) -> None:
    """An id names recording and state; a filesystem's options may hold colons."""
    assert parse_power_id(text) == parts
    assert parse_power_id("power:ext4:data=writeback~mixed~0:1-none") == ("ext4:data=writeback~mixed~0", "1-none")
    with pytest.raises(UsageError, match="not a scenario id"):
        parse_power_id("power:1-none")


@pytest.mark.parametrize(("fs", "restarts"), [("ext4", [30, 400, 400]), ("posix", [0, 30, 0, 400, 0, 400])])
def test_searches_restart_on_every_filesystem(fs: str, restarts: list[int], tmp_path: Path) -> None:
    """A search for a bug that only a kill and a restart before the power cut show gets to them, whatever the filesystem."""
    plan = Plan(target="replace:fsync", filesystems=(fs,), report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        searches = list(Power().searches(checker, plan.experiment_options))
    assert [one.restarts for one in searches] == restarts
    assert [one.options.budget for one in searches] == sorted(one.options.budget or 0 for one in searches)


def test_a_note_counts_the_checks_besides_the_contract(tmp_path: Path) -> None:
    """Second recoveries of all recordings add up in one note."""
    details = run(f"{TOYS}:BelievesTheCache", tmp_path, budget=10, fs="posix", nudges=("none",)).details
    again = sum(recording["second_recoveries"] for recording in details["recordings"])
    assert again > 0
    assert any(
        f"besides the contract: recovery was repeated in {again} recovered folder" in note for note in details["notes"]
    )
