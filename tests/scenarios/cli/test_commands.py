"""The command line: bad input costs one clear line and nothing else; a killed run leaves nothing for long."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import ROOT
from tests.processes import alive, descendants
from tests.scenarios.command_line import CRASHMATRIX, crashmatrix, crashmatrix_program, environment

ALL_KILLS = ("--experiments", "kill")
KILL = (*ALL_KILLS, "--budget", "12")
TOYS = "tests.scenarios.toy_systems"


pytestmark = pytest.mark.experiment

HUGE = "9" * 5_000
BAD_INPUT = [
    (["run", "nosuch"], "no target 'nosuch'; `crashmatrix targets` lists them"),
    (["run", "nosuch*"], "no target's name is like 'nosuch*'; `crashmatrix targets` lists those that are built in"),
    (["run", "replace:*", "--timestamp", "a"], "--timestamp goes with target reference only"),
    (["run", "replace:*", "--report", "other"], "other holds something else (precious); name a new directory"),
    (["run", "no.such.module:Store"], "cannot import no.such.module (ModuleNotFoundError"),
    (["run", "missing.py:Store"], "no file missing.py; name it relative to the current directory"),
    (["run", "missing.toml"], "no file missing.toml; name it relative to the current directory, or write one"),
    (["run", "half.toml"], "half.toml lacks recover: the command to run"),
    (["run", "lost.toml"], "workload: there is no program './lost' to run; install or build it"),
    (["run", f"{TOYS}:Nope"], "has no class 'Nope' derived from crashmatrix.SystemUnderTest"),
    (["run", "reference+nosuch"], "no planted bug 'nosuch'"),
    (["run", "--experiments", "flood"], "no experiment 'flood'"),
    (["run", "--data", "missing.parquet", "--timestamp", "t"], "no data file"),
    (["run", "--data", "text.parquet", "--timestamp", "t"], "cannot read"),
    (["run", "--data", "rows.csv"], "--data needs --timestamp COLUMN"),
    (["run", "--data", "rows.csv", "--timestamp", "t"], "has no column 't' (--timestamp); it has a, b"),
    (["run", "--data", "rows.csv", "--timestamp", "a"], "has 1 rows, the workload needs"),
    (["run", f"{TOYS}:Store", "--timestamp", "a"], "--timestamp goes with target reference only"),
    (["run", f"{TOYS}:Store", "--report", "other"], "other holds something else (precious); name an empty or new one"),
    (["run", f"{TOYS}:Store", "--report", "rows.csv"], "rows.csv is not a directory"),
    (
        ["run", f"{TOYS}:DiesByItself"],
        "exited with status 7; it printed: no way; it must work before it can be crashed",
    ),
    (["replay", "kill:a@1"], "no finished report in crashmatrix-report"),
    (["report", "other"], "no finished report in other; name a directory that has one, or make one: crashmatrix run"),
    (["diff", "other", "another"], "no finished report in other"),
    (["merge", "whole", "other"], "no finished report in other"),
    (["merge", "whole", "./whole"], "whole is one of the reports to merge"),
    (["run", "--shard", "5/4"], "no shard '5/4'; write --shard I/N"),
    (["run", "--shard", f"1/{HUGE}"], "write --shard I/N, with I from 1 to N, 999999 at most"),
    (["run", "--seed", HUGE], "Invalid value for '--seed'"),
    (["run", "--seed", "7" * 100], "Invalid value for '--seed'"),
    (["run", "--budget", HUGE], "Invalid value for '--budget'"),
    (["run", "--jobs", "2000"], "--jobs 2000 is too many for"),
    (["run", "--experiments", "kill", "--require", "flood"], "no experiment 'flood'"),
    (["run", "--nosuch"], "No such option: --nosuch; see: crashmatrix run --help"),
    (["nosuch"], "No such command 'nosuch'; see: crashmatrix --help"),
    (["rnu"], "No such command 'rnu'. Did you mean 'run'? See: crashmatrix --help"),
    (["run", "--budget"], "Option '--budget' requires an argument; see: crashmatrix run --help"),
    (["run", "--jobs", "x"], "--jobs: 'x' is not a whole number; see: crashmatrix run --help"),
    (["soak", "sqlite", "--hours=x"], "--hours: 'x' is not a number; see: crashmatrix soak --help"),
    (["run", "--experiments", ""], "'' names no experiment; name some of kill, power"),
    (["run", "sqlit:wal-full"], "no target 'sqlit:wal-full'; the nearest is sqlite:wal-full"),
    (["run", "referense"], "no target 'referense'; the nearest is reference; `crashmatrix targets` lists them"),
    (["mutants", "--seeds", HUGE], "Invalid value for '--seeds'"),
]


@pytest.mark.daily(5)
@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT)
def test_bad_input_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    """Cause and remedy on one line, exit status 2, no traceback, nothing overwritten."""
    (tmp_path / "text.parquet").write_text("not parquet")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "half.toml").write_text("workload = 'true'")
    (tmp_path / "lost.toml").write_text("workload = './lost'\nrecover = 'true'")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("mine")
    run = crashmatrix(*arguments, cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith("crashmatrix: ")
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert run.stdout == ""
    assert (tmp_path / "other" / "precious").read_text() == "mine"
    assert not (tmp_path / "crashmatrix-report" / "results.jsonl").exists()


def test_malformed_failpoints_stop_the_program(tmp_path: Path) -> None:
    """FAILPOINTS that cannot be read: one line, exit status 2."""
    run = crashmatrix_program("targets", cwd=tmp_path, FAILPOINTS="wal.append.before_sync=kil")
    assert run.returncode == 2
    assert "did you mean 'kill'?" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_failed_run_leaves_the_last_report(tmp_path: Path) -> None:
    """A run that cannot start does not touch the report of the one before."""
    assert crashmatrix("run", f"{TOYS}:Store", *KILL, cwd=tmp_path).returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "crashmatrix-report").iterdir()}
    assert crashmatrix("run", f"{TOYS}:DiesByItself", *KILL, cwd=tmp_path).returncode == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "crashmatrix-report").iterdir()} == before


@pytest.mark.daily(2)
@pytest.mark.parametrize(("toy", "status"), [("Store", 0), ("Buffered", 1), ("CheckerCrashes", 3)])
def test_exit_status(toy: str, status: int, tmp_path: Path) -> None:
    """0 safe, 1 broken, 3 unknown; the report shown again says the same, and has the same pages."""
    run = crashmatrix("run", f"{TOYS}:{toy}", *KILL, cwd=tmp_path)
    assert run.returncode == status, run.stdout + run.stderr
    pages = {name: (tmp_path / "crashmatrix-report" / name) for name in ("index.html", "junit.xml", "summary.md")}
    before = {name: path.read_bytes() for name, path in pages.items()}
    for path in pages.values():
        path.unlink()
    again = crashmatrix("report", cwd=tmp_path)
    assert again.returncode == status
    assert again.stdout == run.stdout
    assert {name: path.read_bytes() for name, path in pages.items()} == before


def test_replay_kills_again(tmp_path: Path) -> None:
    """The printed command reproduces the finding with a real SIGKILL, and keeps the crashed folder."""
    assert crashmatrix("run", f"{TOYS}:Buffered", *KILL, cwd=tmp_path).returncode == 1
    lines = [json.loads(line) for line in (tmp_path / "crashmatrix-report" / "results.jsonl").read_text().splitlines()]
    broken = next(line for line in lines if line["verdict"] == "loses")
    assert broken["replay"] == f"crashmatrix replay {broken['id']} --report crashmatrix-report"
    run = crashmatrix(*broken["replay"].split()[1:], "--keep", "kept", cwd=tmp_path)
    assert run.returncode == 1
    assert f"{broken['id']}: loses\n  {broken['explanation']}\n" in run.stdout
    assert "attempt 0\nack 0\n" in (tmp_path / "kept" / "journal").read_text()
    assert (tmp_path / "kept" / "crashed").is_dir()
    again = crashmatrix(*broken["replay"].split()[1:], "--keep", "kept", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (2, "crashmatrix: kept exists; name a new folder with --keep\n")


@pytest.mark.daily(2)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([f"kill:a@{HUGE}"], "is not a scenario id"),
        (
            ["kill:toy.put.after_write@1", "--keep", "crashmatrix-report/summary.md/x"],
            "cannot be made (Not a directory)",
        ),
        (["kill:toy.put.after_write@1", "--keep", "crashmatrix-report"], "crashmatrix-report exists"),
    ],
)
def test_bad_replays(arguments: list[str], message: str, tmp_path: Path) -> None:
    """An id or a folder that cannot be is refused in one line, before anything is crashed."""
    assert crashmatrix("run", f"{TOYS}:Store", *KILL, cwd=tmp_path).returncode == 0
    run = crashmatrix("replay", *arguments, cwd=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_an_experiment_named_twice_is_run_once(tmp_path: Path) -> None:
    """No scenario is counted twice."""
    assert crashmatrix("run", f"{TOYS}:Store", "--experiments", "kill,kill", cwd=tmp_path).returncode == 0
    lines = (tmp_path / "crashmatrix-report" / "results.jsonl").read_text().splitlines()
    ids = [json.loads(line)["id"] for line in lines]
    assert len(ids) == len(set(ids)) > 0


def test_replay_of_a_point_never_reached_is_refused(tmp_path: Path) -> None:
    """A scenario that the report does not have, and whose failpoint does not fire, is a mistake of the user's."""
    assert crashmatrix("run", f"{TOYS}:Store", *KILL, cwd=tmp_path).returncode == 0
    run = crashmatrix("replay", "kill:toy.put.after_write@99", cwd=tmp_path)
    assert run.returncode == 2
    assert "has no scenario 'kill:toy.put.after_write@99', and no run came to it; the nearest" in run.stderr


@pytest.mark.daily(2)
@pytest.mark.parametrize("command", ["targets", "failpoints", "doctor", "--version", "--help"])
def test_informative_commands(command: str, tmp_path: Path) -> None:
    """Each answers, without touching the folder it is called in."""
    run = (crashmatrix_program if command == "--version" else crashmatrix)(command, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_target_in_a_file(tmp_path: Path) -> None:
    """A system in a file of the user's own needs nothing but its name."""
    (tmp_path / "my_store.py").write_text((ROOT / "tests" / "scenarios" / "toy_systems.py").read_text())
    assert crashmatrix("run", "my_store.py:Store", *KILL, cwd=tmp_path).returncode == 0
    assert crashmatrix("run", "my_store.py:Buffered", *KILL, cwd=tmp_path).returncode == 1


def start_long_run(
    tmp_path: Path,
    *,
    target: str = f"{TOYS}:Long",
    start_new_session: bool = False,
    preexec_fn: Callable[[], object] | None = None,
    **more: str,
) -> subprocess.Popen[str]:
    """Start a run and wait until it has found something."""
    run = subprocess.Popen(
        [*CRASHMATRIX, "run", target, *ALL_KILLS, "--report", "report"],
        cwd=tmp_path,
        env=environment(**more),
        start_new_session=start_new_session,
        preexec_fn=preexec_fn,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    results = tmp_path / "report" / "results.jsonl"
    deadline = time.monotonic() + 200
    while not (results.exists() and results.stat().st_size) and time.monotonic() < deadline and run.poll() is None:
        time.sleep(0.05)
    return run


def test_killing_crashmatrix_leaves_no_process(tmp_path: Path) -> None:
    """A SIGKILL of crashmatrix itself takes its fork server and every child with it."""
    run = start_long_run(tmp_path)
    children = descendants(run.pid)
    assert len(children) >= 2
    run.kill()
    run.communicate(timeout=250)
    assert alive(children) == []
    assert (tmp_path / "report" / "results.jsonl").read_text().endswith("}\n")


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", ["short", "long" * 30])
def test_the_next_run_removes_what_a_killed_one_left(name: str, tmp_path: Path) -> None:
    """No file outside the report directory is left for long, whatever end a run came to, wherever temporary files go."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder) / name
        temporary.mkdir()
        run = start_long_run(tmp_path, TMPDIR=str(temporary))
        run.kill()
        run.communicate(timeout=250)
        assert [*temporary.iterdir()] != []
        assert crashmatrix("run", f"{TOYS}:Store", *KILL, cwd=tmp_path, TMPDIR=str(temporary)).returncode == 0
        assert [*temporary.iterdir()] == []
        assert [*Path(tempfile.gettempdir()).glob(f"crashmatrix-{run.pid}-*")] == []


def test_modules_named_like_the_standard_library_are_not_imported(tmp_path: Path) -> None:
    """Files beside a target are its own: neither the program nor the processes that it starts take one of them for another."""
    for name in ("json", "queue", "selectors", "tempfile", "reports", "faults"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    (tmp_path / "my_store.py").write_text((ROOT / "tests" / "scenarios" / "toy_systems.py").read_text())
    program = Path(sys.executable).with_name("crashmatrix")  # `python -c` looks in the current folder itself.
    command = [str(program), "run", "my_store.py:Store", *KILL, "--budget", "3"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    assert "imported" not in run.stdout
