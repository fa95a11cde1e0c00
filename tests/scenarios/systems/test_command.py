"""Targets described by a TOML file: a command that cannot run is named, and the examples of the documentation work."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import PromiseBroken, UsageError
from crashmatrix.scenarios.kill.profile import prepare
from crashmatrix.scenarios.systems.command import program_folders
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.target.journal import Promises
from crashmatrix.scenarios.target.system import SystemUnderTest
from tests import ROOT
from tests.scenarios.experiments import kill_of, power_of, run_kill
from tests.scenarios.kill.test_experiment import verdicts

EXAMPLES = ROOT / "docs" / "examples"
BOTH = 'workload = "true"\nrecover = "true"\n'

SETUP = [
    (
        'workload = "no-such-program"\nrecover = "true"',
        "workload: there is no program 'no-such-program' to run; install",
    ),
    ('workload = "true"\nrecover = "./missing {root}"', "recover: there is no program './missing' to run"),
    (BOTH + """build = "sh -c 'echo broken >&2; exit 2'" """, "build exited with status 2; it said: broken"),
    (BOTH + 'list_failpoints = "false"', "list_failpoints exited with status 1"),
]


@pytest.mark.experiment
@pytest.mark.parametrize(("text", "message"), SETUP)
def test_what_setup_finds(text: str, message: str, tmp_path: Path) -> None:
    """A command that is not there, or fails before anything begins, is named before anything begins."""
    (tmp_path / "system.toml").write_text(text)
    with pytest.raises(UsageError) as refused, workbench(Plan(target=str(tmp_path / "system.toml"))):
        pass
    assert message in str(refused.value)


def test_ignored_files(tmp_path: Path) -> None:
    """Files that a pattern ignores do not make two folders differ; all others do."""
    (tmp_path / "system.toml").write_text(BOTH + 'ignore = ["*.log", "cache/*"]')
    system, prints = load(str(tmp_path / "system.toml"))(), []
    for change in ("a.log", "cache/x", "data"):
        folder = tmp_path / change.replace("/", "_")
        (folder / "cache").mkdir(parents=True)
        prints.append(system.fingerprint(folder))
        (folder / change).write_text("x")
        prints.append(system.fingerprint(folder))
    assert len(set(prints[:5])) == 1
    assert prints[5] != prints[0]


def needs(program: str) -> None:
    if shutil.which(program) is None and os.environ.get("CI") == "true":
        pytest.fail(f"{program} is missing; .ci/system-packages installs it")
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")


def kill(target: Path, budget: int) -> dict[str, int]:
    """Return the hits of each crash point, after a run that must be safe."""
    plan = Plan(target=str(target), budget=budget)
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.sample_min = 3
        experiment.run()
        profile = prepare(checker).profile
    assert verdicts(experiment.ordered()) == {"safe"}
    assert experiment.details["agreed_with_snapshot"] == experiment.details["killed_for_real"] > 0
    names = [name for name, _ in profile.hits]
    return {name: names.count(name) for name in names}


@pytest.fixture
def kvlog(tmp_path: Path) -> Path:
    needs("cc")
    for name in ("kvlog.c", "kvlog.toml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    return tmp_path / "kvlog.toml"


@pytest.mark.experiment
def test_c_program_killed(kvlog: Path) -> None:
    """The example in C is killed at each of its system calls, and keeps its promise."""
    assert kill(kvlog, 8) == {"call.openat": 1, "call.fsync": 21, "call.write": 20, "journal.line": 40}


@pytest.mark.experiment
@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(
    ("sync", "expected"), [pytest.param("1", {"safe"}, marks=pytest.mark.slow), ("0", {"safe", "loses"})]
)
def test_c_program_under_power_cuts(kvlog: Path, sync: str, expected: set[str], tmp_path: Path) -> None:
    """The C program keeps its promise under power cuts, too; without its fsync, it does not."""
    kvlog.write_text(kvlog.read_text().replace('KVLOG_SYNC = "1"', f'KVLOG_SYNC = "{sync}"'))
    # Under the nudge of the second nothing is durable that the program did not sync itself: its loss shows on any kernel.
    nudges = ("mixed", "storm") if sync == "1" else ("writeback",)
    plan = Plan(target=str(kvlog), budget=40, filesystems=("ext4:commit=300",), report=tmp_path / "report")
    with workbench(plan) as (checker, _):
        experiment = power_of(plan, checker)
        experiment.nudges, experiment.restarts = nudges, int(sync)
        experiment.run()
    assert verdicts(experiment.ordered()) == expected


@pytest.mark.slow
@pytest.mark.experiment
def test_sqlite_shell_killed() -> None:
    """The example that drives the sqlite3 shell is killed within its transactions."""
    needs("sqlite3")
    assert kill(EXAMPLES / "sqlite_shell.toml", 12)["call.pwrite64"] > 0


FAILPOINTS = """
import os, sys, faults
POINT = faults.declare("store.before_write", "x")
root, journal = sys.argv[1], open(os.environ["CRASHMATRIX_JOURNAL"], "a", buffering=1)
for item in range(3):
    journal.write(f"attempt {item}\\n")
    POINT.hit()
    with open(root + "/data", "a") as file:
        file.write(f"{item}\\n")
    journal.write(f"ack {item}\\n")
"""


@pytest.mark.daily(1)
@pytest.mark.experiment
@pytest.mark.parametrize(
    "listed", ['failpoints = ["store.before_write"]', 'list_failpoints = "echo store.before_write"']
)
def test_failpoints_of_a_program(listed: str, tmp_path: Path) -> None:
    """A program that follows FAILPOINTS is killed at its failpoints, listed in the file or printed by the program."""
    (tmp_path / "store.py").write_text(FAILPOINTS)
    path = os.pathsep.join([str(EXAMPLES.parents[1]), os.environ.get("PYTHONPATH", "")])
    (tmp_path / "store.toml").write_text(
        f'workload = "{sys.executable} store.py {{root}}"\n'
        f"recover = ['sh', '-c', 'cat $CRASHMATRIX_ROOT/data 2>/dev/null; true']\n{listed}\n"
        f'[environment]\nPYTHONPATH = "{path}"\n'
    )
    hits = kill(tmp_path / "store.toml", 12)
    assert hits == {"journal.line": 6, "store.before_write": 3, "call.openat": 3, "call.write": 3}


PRINTS = "import sys; print('opened', flush=True); "
SERVES = PRINTS + "import signal; signal.pause()"
UNTIL_CALLED = (
    "import os, time; called = os.environ['CRASHMATRIX_ROOT'] + '/called'\n"
    "while not os.path.exists(called): time.sleep(0.01)\n"
)


def served(tmp_path: Path, server: str, more: str = "", recover: str = "echo 7") -> SystemUnderTest:
    (tmp_path / "system.toml").write_text(
        f"workload = 'true'\nserver = [{sys.executable!r}, '-c', '''{server}''']\nready_line = 'opened'\n"
        f"recover = ['sh', '-c', '{recover}']\n{more}\n"
    )
    return load(str(tmp_path / "system.toml"))()


def test_server_serves_recover(tmp_path: Path) -> None:
    """The server runs on the folder while `recover` queries it, which finds it by its port."""
    root = tmp_path / "root"
    root.mkdir()
    started = "import os; open(os.environ['CRASHMATRIX_ROOT'] + '/started', 'w').close(); "
    system = served(tmp_path, started + SERVES, recover="ls $CRASHMATRIX_ROOT | wc -l; echo $CRASHMATRIX_PORT")
    found = system.recover(root)
    assert (found[0], found[1] > 1024) == (1, True)


def test_empty_lines_are_not_items(tmp_path: Path) -> None:
    """A client may print an empty line for an empty answer."""
    (tmp_path / "system.toml").write_text('workload = "true"\nrecover = ["printf", "\\n7\\n \\n8\\n"]')
    assert load(str(tmp_path / "system.toml"))().recover(tmp_path) == [7, 8]


def test_an_object_with_one_name_twice_is_corrupt(tmp_path: Path) -> None:
    """It is not known which of two items came back."""
    (tmp_path / "system.toml").write_text("""workload = "true"\nrecover = ["echo", '{"a": 1, "a": 2}']""")
    with pytest.raises(PromiseBroken, match="recover printed in line 1: an object has the name 'a' twice") as broken:
        load(str(tmp_path / "system.toml"))().recover(tmp_path)
    assert broken.value.verdict == "corrupt"


@pytest.mark.parametrize(
    ("server", "recover", "message"),
    [
        (
            "raise SystemExit('torn page 3')",
            "echo 7",
            "before it was ready, the server exited with status 1; it printed: torn page 3",
        ),
        (SERVES, "echo no >&2; exit 4", "recover exited with status 4; it said: no; the server printed: opened"),
        (
            PRINTS + UNTIL_CALLED + "raise SystemExit('bad')",
            "touch $CRASHMATRIX_ROOT/called; sleep 600",
            "recover was still running 2 s after the server exited with status 1; it printed: opened | bad",
        ),
    ],
)
def test_server_that_fails_in_recovery(server: str, recover: str, message: str, tmp_path: Path) -> None:
    """A server that does not come up, or does not serve, cannot open what the crash left; it is quoted."""
    with pytest.raises(PromiseBroken) as broken:
        served(tmp_path, server, recover=recover).recover(tmp_path)
    assert broken.value.verdict == "cannot-open"
    assert message in broken.value.explanation


def test_server_that_is_not_ready(tmp_path: Path) -> None:
    """A server that is not ready within most of `seconds_max` hangs; the rest of the time is for saying so."""
    system = served(tmp_path, "import signal; signal.pause()", more="seconds_max = 0.5")
    with pytest.raises(PromiseBroken, match="the server was not ready after 0"):
        system.recover(tmp_path)


@pytest.mark.parametrize(
    ("verify", "verdict", "text"),
    [
        ("test $(wc -l <$CRASHMATRIX_ATTEMPTED) = 2 && grep -qx 1 $CRASHMATRIX_ACKNOWLEDGED", "", ""),
        ("echo page 7 differs; exit 1", "corrupt", "verify exited with status 1; it said: page 7 differs"),
        ("echo loses: no index entry for key 7; exit 1", "loses", "no index entry for key 7"),
        ("echo error: it is bad; exit 1", "unknown", "it is bad (it claims the verdict 'error'"),
    ],
)
def test_verify(verify: str, verdict: str, text: str, tmp_path: Path) -> None:
    """The command `verify` breaks the promise by its exit status, with the verdict that it names."""
    (tmp_path / "system.toml").write_text(BOTH + f"verify = ['sh', '-c', '{verify}']")
    system = load(str(tmp_path / "system.toml"))()
    promises = Promises.parse(b"attempt 1\nack 1\nattempt 2\n")
    if not verdict:
        system.verify(tmp_path, promises)
        return
    with pytest.raises(PromiseBroken) as broken:
        system.verify(tmp_path, promises)
    assert (broken.value.verdict, broken.value.explanation[: len(text)]) == (verdict, text)


@pytest.fixture
def kvserver(tmp_path: Path) -> Path:
    needs("cc")
    for name in ("kvserver.c", "kvserver.toml", "kvclient.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    return tmp_path / "kvserver.toml"


@pytest.mark.slow
@pytest.mark.experiment
def test_server_killed(kvserver: Path) -> None:
    """The example of a server is killed at its calls and its client's journal lines, and keeps its promise."""
    hits = kill(kvserver, 8)
    assert (hits["call.fsync"], hits["journal.line"]) == (8, 12)


@pytest.mark.experiment
def test_bug_of_the_server_is_found(kvserver: Path) -> None:
    """The example's bug is found: it says ok while the pair is in its memory."""
    kvserver.write_text(kvserver.read_text().replace('KVSERVER_BUG = ""', 'KVSERVER_BUG = "buffered"'))
    results = run_kill(str(kvserver), real_kills=1, budget=2, depth_max=0).ordered()
    assert "loses" in verdicts(results)
    assert any('; the server printed "recovered 0 keys"' in result.explanation for result in results)


HALVES = """
contract = "prefix"
workload = ["sh", "-ec", '''
for item in 1 2; do
    echo "attempt $item" >>"$CRASHMATRIX_JOURNAL"
    printf "item $item" >>"$1/log"
    echo " ok" >>"$1/log"
    echo "ack $item" >>"$CRASHMATRIX_JOURNAL"
done
''', "sh", "{root}"]
recover = ["sh", "-ec", 'touch "$1/log"; sed -n "s/^item \\\\([0-9]*\\\\) ok$/\\\\1/p" "$1/log"', "sh", "{root}"]
resume = ["sh", "-ec", '''%s''', "sh", "{root}"]
"""

STORES = """
echo "attempt 9" >>"$CRASHMATRIX_JOURNAL"
echo "item 9 ok" >>"$1/log"
echo "ack 9" >>"$CRASHMATRIX_JOURNAL"
"""


@pytest.mark.experiment
@pytest.mark.parametrize(
    ("resume", "words"),
    [
        (STORES, "after it was resumed: acknowledged, but gone: 9 (of 1 acknowledged)"),
        pytest.param('sed -i "/ ok$/!d" "$1/log"' + STORES, "", marks=pytest.mark.slow),
        pytest.param(
            'if grep 2 "$CRASHMATRIX_RECOVERED" >&2; then exit 1; fi' + STORES,
            "when it was resumed: resume exited with status 1; it said: 2",
            marks=pytest.mark.slow,
        ),
        pytest.param("true", "resume acknowledged nothing after any crash", marks=pytest.mark.slow),
    ],
)
def test_a_command_that_goes_on(resume: str, words: str, tmp_path: Path) -> None:
    """The command `resume` is a second life, which knows the items recovered; how it ends is a verdict."""
    target = tmp_path / "halves.toml"
    target.write_text(HALVES % resume)
    plan = Plan(target=str(target), budget=40)
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.sample_min = 3
        experiment.run()
    wrong = [result.explanation for result in experiment.ordered() if result.verdict is not Verdict.SAFE]
    assert any(text.startswith(words) for text in wrong) if words else not wrong, {*wrong}


def test_programs_below_tmp_are_seen(tmp_path: Path) -> None:
    """A program's folder, and those of PATH and its like, stay visible in the target's own /tmp; other variables show nothing."""
    target = tmp_path / "store.toml"
    with tempfile.TemporaryDirectory(dir="/tmp") as tools:
        bin_folder, library, home = (Path(tools) / name for name in ("bin", "lib", "home"))
        for folder in (bin_folder, library, home):
            folder.mkdir()
        target.write_text(
            f'workload = "{bin_folder}/tool {{root}}"\nrecover = "cat"\n'
            f'[environment]\nPYTHONPATH = "{library}:/usr/lib:relative"\nHOME = "{home}"\n'
        )
        assert program_folders(target) == (bin_folder, library, Path("/usr/lib"))
        visible = Target(str(target)).view().visible
        assert {bin_folder, library} <= {*visible}
        assert home not in visible
    target.write_text("workload = 1")
    os.utime(target, (1, 1))
    assert program_folders(target) == program_folders(tmp_path / "none.toml") == ()
