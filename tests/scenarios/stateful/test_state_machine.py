"""CrashStateMachine finds what is wrong with a store, shrinks it to a readable sequence, and leaves a right one alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings, strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from crashmatrix import CrashStateMachine, PromiseBroken
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.sandbox.cell import lacking as lacking_cells
from crashmatrix.scenarios.stateful.state_machine import OperationFailed
from crashmatrix.scenarios.stateful.traces import Traces
from tests import ROOT
from tests.scenarios import plain_stores, toy_stores

pytestmark = pytest.mark.experiment  # Each crashes a store many times.

QUICK = settings(
    max_examples=30,
    stateful_step_count=8,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate, Phase.shrink),
)


class Puts(CrashStateMachine):
    """Keys with values; no power cuts, the stores sync nothing."""

    contract = "latest"
    power_cuts_max = 0

    @rule(key=st.sampled_from("ab"), value=st.integers(0, 9))
    def put(self, key: str, value: int) -> None:
        self.do("put", key, value, item=[key, value])


class Adds(CrashStateMachine):
    """Numbers, in order."""

    power_cuts_max = 0
    contract = "prefix"

    @initialize()
    def begin(self) -> None:
        self.next = 0

    @rule()
    def add(self) -> None:
        self.next += 1
        self.do("add", self.next, item=self.next)


class AddsWithPowerCuts(Adds):
    power_cuts_max = 1


def machine(base: type[CrashStateMachine], open_: Any) -> type[CrashStateMachine]:
    return type("Machine", (base,), {"open": open_})


def failure(kind: type[CrashStateMachine], options: settings = QUICK) -> tuple[str, list[str]]:
    """Run until it fails; returns the error's text and the steps that led to it, as Hypothesis reports them."""
    with pytest.raises(PromiseBroken) as caught:
        run_state_machine_as_test(kind, settings=options)
    notes = "\n".join(caught.value.__notes__)
    return str(caught.value), re.findall(r"^state\.(.*)", notes, re.MULTILINE)


@pytest.mark.slow
def test_kill_between_two_steps_of_an_operation() -> None:
    """A file written in place is found empty; three steps show it."""
    text, steps = failure(machine(Puts, partial(toy_stores.Rewriting, in_place=True)))
    assert text.startswith("cannot-open: after a kill at toy_store.truncated, in put: the store raised JSONDecodeError")
    put = "put(key='a', value=0)"
    assert steps == [put, "kill(hits=1, in_recovery=0)", put, "teardown()"]


def test_kill_in_recovery() -> None:
    """A recovery that cannot be interrupted is found by killing twice; three steps show it."""
    text, steps = failure(machine(Adds, partial(toy_stores.Compacting, careless=True)))
    assert text == (
        "loses: after a kill, and another in recovery, at toy_store.recovered: acknowledged, but gone: 1 (of 1 acknowledged)"
    )
    assert steps[1:] == ["add()", "kill(hits=0, in_recovery=1)", "teardown()"]


AT_CALLS = pytest.mark.skipif(bool(lacking()), reason=lacking())


@pytest.mark.slow
@AT_CALLS
def test_kill_at_a_system_call() -> None:
    """A store without failpoints dies before its system calls: its file is opened and not yet written."""
    text, steps = failure(machine(Puts, partial(plain_stores.PlainRewriting, in_place=True)))
    assert text.startswith("cannot-open: after a kill at call.write, in put: the store raised JSONDecodeError")
    put = "put(key='a', value=0)"
    assert steps == [put, "kill(hits=2, in_recovery=0)", put, "teardown()"]


@pytest.mark.slow
@AT_CALLS
def test_kill_at_a_system_call_of_recovery() -> None:
    """Recovery without failpoints dies before its system calls, too."""
    text, steps = failure(machine(Adds, partial(plain_stores.PlainCompacting, careless=True)))
    assert re.search(r"^loses: after a kill, and another in recovery, at call\.\w+: acknowledged, but gone: 1", text)
    assert steps[1] == "add()"


@AT_CALLS
def test_right_stores_without_failpoints() -> None:
    """The same stores without the mistake pass."""
    options = settings(QUICK, max_examples=6)
    run_state_machine_as_test(machine(Puts, plain_stores.PlainRewriting), settings=options)


@AT_CALLS
def test_a_store_without_failpoints_that_dies_by_itself() -> None:
    """Its death is the store's, with its signal, and not a crash."""
    run: Any = machine(Puts, plain_stores.PlainRewriting)()
    with pytest.raises(OperationFailed, match="died by SIGABRT"):
        run.do("die")
    run.teardown()


@AT_CALLS
@pytest.mark.usefixtures("disk")
def test_a_kill_at_a_call_is_repeated_on_a_recorded_disk() -> None:
    """The sessions before a power cut are lived again with their kills, at the same calls."""
    run: Any = machine(Puts, plain_stores.PlainSynced)()
    run.put("a", 1)
    run.kill(hits=1, in_recovery=0)
    run.put("a", 2)
    run.power_cut(nudge="none", state=0)
    run.teardown()


@pytest.mark.skipif(bool(lacking_cells()), reason=lacking_cells())
@pytest.mark.usefixtures("disk")
def test_a_power_cut_starts_the_machine_anew() -> None:
    """The boot id is another one after each, also while the sessions before it are lived again, and the same after a kill."""
    run: Any = type("Cut", (CrashStateMachine,), {"open": plain_stores.PlainBoots, "power_cuts_max": 30})()
    here: list[str] = []
    for state in range(30):
        *earlier, boot = run.do("boots")
        assert boot not in here
        assert set(earlier) <= set(here)  # Others would be of a session that was lived again.
        here.append(boot)
        run.kill(0, 0)
        assert run.do("boots") == [*earlier, boot]
        if len(earlier) > 1:
            break
        run.power_cut("none", state)
    run.teardown()
    assert len(earlier) > 1


@pytest.mark.usefixtures("disk")
def test_power_cut() -> None:
    """Unsynced items are gone after a power cut; two steps show it."""
    text, steps = failure(machine(AddsWithPowerCuts, partial(toy_stores.Appending, synced=False)))
    assert text.startswith("loses: after a power cut (crash state ")
    assert "acknowledged, but gone: 1" in text
    assert [step.partition("(")[0] for step in steps[1:]] == ["add", "power_cut", "teardown"]


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("base", "store"), [(Puts, toy_stores.Rewriting), (Adds, toy_stores.Compacting), (Adds, toy_stores.Appending)]
)
def test_right_stores(base: type[CrashStateMachine], store: Any) -> None:
    """The same stores without the mistake pass."""
    run_state_machine_as_test(machine(base, store), settings=QUICK)


@pytest.mark.usefixtures("disk")
def test_right_store_through_power_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that syncs what it promises passes, and lives on after each power cut. No recording is left."""
    recordings: set[Path] = set()

    path_of = Traces.path

    def noted(traces: Traces, name: str) -> Path:
        recordings.add(path := path_of(traces, name))
        return path

    monkeypatch.setattr(Traces, "path", noted)
    options = settings(QUICK, max_examples=8)
    run_state_machine_as_test(machine(AddsWithPowerCuts, toy_stores.Appending), settings=options)
    assert recordings
    assert not any(path.exists() for path in recordings)


def start(base: type[CrashStateMachine]) -> tuple[Any, list[Any]]:
    """A machine over a right store, to be led by hand, and what it hears after each crash."""
    run: Any = machine(base, toy_stores.Appending)()
    heard: list[Any] = []
    run.crashed = heard.append
    run.begin()
    return run, heard


@pytest.mark.usefixtures("disk")
def test_time_goes_back_in_a_power_cut() -> None:
    """Promises made after the cut are no longer owed; those made before it are, through every later crash."""
    run, heard = start(AddsWithPowerCuts)
    for state in range(100):  # Fewer exist; few of them come after the acknowledgement.
        run.add()
        run.power_cut("none", state)
        run.kill(0, 0)
        if [] in heard and any(heard):
            break
    run.teardown()
    assert heard[::2] == heard[1::2]
    assert [] in heard
    assert any(heard)


def test_what_a_crash_cut_short_is_no_gap() -> None:
    """An attempt that did not come back is over: the items after it are a prefix without it."""
    run, heard = start(Adds)
    run.add()
    run.kill(1, 0)
    run.add()
    run.add()
    run.kill(0, 0)
    run.teardown()
    assert heard == [[1], [1, 3]]


def test_an_equal_item_that_was_cut_short_is_no_gap() -> None:
    """The attempt that a kill interrupted is over, though an equal one before it was acknowledged."""
    run, heard = start(Adds)
    for number, killed_at in [(1, 0), (1, 1), (0, 0)]:
        run.next = number - 1
        if killed_at:
            run.kill(killed_at, 0)
        run.add()
    run.kill(0, 0)
    run.teardown()
    assert heard == [[1], [1, 0]]


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("operation", "message"),
    [("get", "get raised KeyError: 'a'"), ("die", "the store died by SIGABRT"), ("hang", "the store hung")],
)
def test_operation_that_fails(operation: str, message: str) -> None:
    """A store that raises, dies or hangs without a crash fails the rule, and the message gives the reason."""
    run = machine(Puts, toy_stores.Rewriting)()
    run.seconds_max = 3.0 if operation == "hang" else 30.0  # type: ignore[misc]
    with pytest.raises(OperationFailed, match=message):
        run.do(operation, *["a"][: operation == "get"])
    run.teardown()


def test_results_come_back() -> None:
    """A rule gets what the operation returned, to compare it with a model."""
    run = machine(Puts, toy_stores.Rewriting)()
    run.do("put", "a", 7, item=["a", 7])
    assert run.do("get", "a") == 7
    run.kill(0, 0)
    assert run.do("get", "a") == 7
    run.teardown()


@pytest.mark.slow
def test_documented_example(tmp_path: Path) -> None:
    """The example of the documentation runs as it stands there, and says what it is said to say."""
    text = (ROOT / "docs" / "property-based-tests.md").read_text()
    files = dict(re.findall(r"`(\w+\.py)`.*?```python\n(.*?)```", text, re.DOTALL))
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "."]
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1, run.stdout + run.stderr
    (shown,) = re.findall(r"```\n(E  .*?)```", text, re.DOTALL)
    for line in shown.splitlines():
        assert line.removeprefix("E").strip() in run.stdout, run.stdout


def test_without_hypothesis() -> None:
    """Without Hypothesis everything else works, and using the machine says what to install."""
    program = "import sys; sys.modules['hypothesis'] = None; import crashmatrix; crashmatrix.CrashStateMachine"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.stderr.splitlines()[-1] == (
        "ImportError: CrashStateMachine needs Hypothesis; run: pip install 'crashmatrix[hypothesis]'"
    )
