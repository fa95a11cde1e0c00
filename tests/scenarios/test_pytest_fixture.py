"""The pytest plugin, in projects of its own: what a user writes, and what they get to see."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from crashmatrix.reports import RunSummary
from crashmatrix.scenarios import pytest_fixture

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.experiment

WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Options of each run. The plugin of Hypothesis imports all of it at the end, which takes longer than most of these tests."""

STORE = """
import json
import pytest
from crashmatrix import SystemUnderTest


class Store(SystemUnderTest):
    contract = "latest"

    def __init__(self, name="data", *, in_place=False):
        self.name, self.in_place = name, in_place

    def workload(self, root, journal):
        for i in range(4):
            with journal.attempt(["key", i]):
                text = json.dumps([["key", i]])
                if self.in_place:
                    (root / self.name).write_text(text)
                else:
                    (root / "new").write_text(text)
                    (root / "new").rename(root / self.name)

    def recover(self, root):
        path = root / self.name
        return json.loads(path.read_text()) if path.exists() else []
"""
KILL = 'experiments=["kill"], budget=12'
TESTS = {
    "safe": f"def test_it(crash_matrix): crash_matrix(Store('x'), {KILL}).assert_safe()",
    "broken": f"def test_it(crash_matrix): crash_matrix(Store(in_place=True), {KILL}).assert_safe()",
    "typo": "def test_it(crash_matrix): crash_matrix(Store(), experiments=['kil'])",
    "local": f"def test_it(crash_matrix):\n    class Mine(Store): ...\n    crash_matrix(Mine(), {KILL})",
    "argument": f"def test_it(crash_matrix): crash_matrix(Store(object()), {KILL})",
    "forgets": f"class Bad(Store):\n    recover = lambda *_: []\ndef test_it(crash_matrix): crash_matrix(Bad(), {KILL})",
    "raises": f"class Bad(Store):\n    def prepare(self, root): 1 / 0\ndef test_it(crash_matrix): crash_matrix(Bad(), {KILL})",
}
SEEN = {
    "typo": ["crash_matrix: no experiment 'kil'; there are kill, power, io-error"],
    "local": ["crash_matrix: test_it.<locals>.Mine cannot be found by other processes*define it at the top of a file"],
    "argument": ["crash_matrix: Store's arguments must be JSON values*"],
    "forgets": [
        "crash_matrix: *:Bad breaks its contract (latest) in an undisturbed run, so no crash is to blame: loses: key*"
        "Attempted 4 items: *; acknowledged 4 items: *; recovered 0 items. *"
    ],
    "raises": [
        "crash_matrix: prepare of *:Bad raised ZeroDivisionError: division by zero (test_store.py:*); it must work before*"
    ],
    "broken": [
        "Store breaks its promise (latest): cannot-open in * of * crashes",
        "  cannot-open: recovery raised JSONDecodeError*",
        "    why: a crash right after this step in the workload breaks the promise: *",
        "    crash: kill at call.write@1",
        "    again: crashmatrix replay kill:call.write@1 --report */crashmatrix-report-1",
        "  all of them: crashmatrix report */crashmatrix-report-1",
    ],
}


def run(pytester: pytest.Pytester, name: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_store=STORE + TESTS[name])
    return pytester.runpytest_subprocess(*WITHOUT, *options)


def test_safe(pytester: pytest.Pytester) -> None:
    """A store that keeps its promise passes, made with the arguments it was made with."""
    run(pytester, "safe").assert_outcomes(passed=1)


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", sorted(SEEN))
def test_failures(pytester: pytest.Pytester, name: str) -> None:
    """A failure takes a few lines, and none of them is the harness's stack."""
    result = run(pytester, name)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(SEEN[name])
    assert "Traceback" not in result.stdout.str()
    assert "scenarios/" not in result.stdout.str().partition("short test summary")[0]


def test_the_printed_command_replays(pytester: pytest.Pytester) -> None:
    """The command that a failure prints reproduces it, from any folder."""
    result = run(pytester, "broken")
    command = re.search(r"again: crashmatrix (.*)", result.stdout.str())
    assert command is not None
    program = [sys.executable, "-c", "from crashmatrix.scenarios.cli.main import main; main()"]
    replayed = subprocess.run([*program, *command[1].split()], cwd="/", capture_output=True, text=True, timeout=60)
    assert replayed.returncode == 1, replayed.stderr
    assert "kill:call.write@1: cannot-open" in replayed.stdout


MARKED = """
@pytest.mark.crash_matrix("kill", "power")
def test_it(crash_matrix): crash_matrix(Store(), budget=12)
def test_other(): ...
"""


def test_each_experiment_is_a_test(pytester: pytest.Pytester) -> None:
    """With the marker, each experiment is a test, workers share the tests, and options apply."""
    pytester.makepyfile(test_store=STORE + MARKED)
    listed = pytester.runpytest_inprocess("--collect-only", "-q")
    listed.stdout.fnmatch_lines(["*::test_it?kill?", "*::test_it?power?", "*::test_other"])
    result = pytester.runpytest_subprocess(
        *WITHOUT, "-n", "1", "-k", "kill or other", "--strict-markers", "--crash-seed", "3"
    )
    result.assert_outcomes(passed=2)


MISSING = """
import crashmatrix.scenarios.power.experiment
def test_it(crash_matrix, monkeypatch):
    monkeypatch.setattr(crashmatrix.scenarios.power.experiment, "lacking", lambda filesystems: "no root; run as root")
    crash_matrix(Store(in_place={in_place}), budget=12).assert_safe()
"""


@pytest.mark.daily(1)
@pytest.mark.parametrize(("in_place", "outcome"), [(False, {"skipped": 1}), (True, {"failed": 1})])
def test_what_cannot_run_here(pytester: pytest.Pytester, in_place: bool, outcome: dict[str, int]) -> None:
    """An experiment that this machine cannot run never lets a test pass, nor hides what the others found."""
    pytester.makepyfile(test_store=STORE + MISSING.format(in_place=in_place))
    result = pytester.runpytest_subprocess(*WITHOUT, "-rs")
    result.assert_outcomes(**outcome)
    if not in_place:
        result.stdout.fnmatch_lines(["*power not run: no root; run as root"])


@pytest.mark.parametrize("not_run", [{}, {"kill": "it found no crash to judge"}])
def test_a_run_that_says_nothing(tmp_path: Path, not_run: dict[str, str]) -> None:
    """A run that could be made, and has no results, fails the test."""
    summary = RunSummary(
        target="store", seed=0, options={}, versions={}, not_run=not_run, chosen=["kill"] * len(not_run)
    )
    outcome = pytest_fixture.FixtureOutcome("Store", "latest", summary, [], tmp_path)
    assert outcome.verdict == "unknown"
    with pytest.raises(pytest.fail.Exception, match=r"^Store: "):
        outcome.assert_safe()


def test_assertions_of_this_package_are_left_as_they_are() -> None:
    """pytest does not rewrite its modules, hundreds of them, as it does with those of other packages that have a plugin."""
    rewrites = type(sys.modules[__name__].__loader__)
    assert "assertion" in rewrites.__module__
    assert not isinstance(pytest_fixture.__loader__, rewrites)


def test_costs_nothing_unused(tmp_path: Path) -> None:
    """Loading the plugin imports neither Arrow nor any other part of ours, and no package that is optional."""
    program = (
        "import pytest, sys; before = set(sys.modules); import crashmatrix.pytest_plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "['crashmatrix', 'crashmatrix.pytest_plugin']"
