"""The registry: declaring, hitting, configuring, observing, scenarios, the environment, threads and forks."""

import dis
import importlib
import itertools
import os
import random
import re
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crashmatrix import faults
from crashmatrix.faults import FailPoint, Return, failpoints as failpoints_module
from tests import ROOT

NUMBERS = itertools.count()
A, B = (faults.declare(f"test.failpoints.{letter}", "used by these tests") for letter in "ab")


def clean_up() -> None:
    for name in faults.configured():
        faults.remove(name)
    faults.observe(None)
    faults.seed(0)


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    clean_up()


def new_name() -> str:
    return f"test.new.{next(NUMBERS)}"


def new_point() -> FailPoint:
    return faults.declare(new_name(), "made for one test")


def run_threads(count: int, work: Callable[[], object]) -> None:
    """Run `work` in several threads that start together and switch as often as the interpreter allows."""
    together = threading.Barrier(count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=lambda: (together.wait(), work())) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- the package


def test_all_is_the_api() -> None:
    """The public names of `faults` are exactly its API, and each is documented."""
    public = {
        name for name, value in vars(faults).items() if name[0] != "_" and not isinstance(value, types.ModuleType)
    }
    assert public == set(faults.__all__)
    undocumented = [name for name in faults.__all__ if not getattr(faults, name).__doc__]
    assert undocumented == ["Observer"]  # An alias has no docstring of its own; `observe` describes it.


def test_needs_only_the_standard_library() -> None:
    """An engine that imports `faults` gets no other dependency, and not the recording disk."""
    script = "import sys; before = set(sys.modules); from crashmatrix import faults; print(*sorted(set(sys.modules) - before))"
    loaded = run_python(script).stdout.split()
    assert "crashmatrix.faults" in loaded
    assert [
        name
        for name in loaded
        if not name.startswith("crashmatrix") and name.split(".")[0] not in sys.stdlib_module_names
    ] == []
    assert [name for name in loaded if name.startswith("crashmatrix.faults.disk")] == []


# --- declaring


def test_declaration_says_where_and_what() -> None:
    """A report can name the place in code that a failpoint stands at."""
    line = sys._getframe().f_lineno + 1
    point = faults.declare(new_name(), "between write and sync")
    assert (point.description, point.location) == ("between write and sync", f"{__file__}:{line}")


def test_reloaded_module_keeps_its_failpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload returns the failpoint with its hits; the same name from another line or with another text is an error."""
    module_path = tmp_path / "declares_failpoint.py"
    module_path.write_text("from crashmatrix import faults\nPOINT = faults.declare('test.reload', 'first')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("declares_failpoint")
    point = module.POINT
    assert importlib.reload(module).POINT is point
    for changed in ("from crashmatrix import faults\n\nPOINT = faults.declare('test.reload', 'first')\n",
                    "from crashmatrix import faults\nPOINT = faults.declare('test.reload', 'other')\n"):  # fmt: skip
        module_path.write_text(changed)
        with pytest.raises(faults.AlreadyDeclared, match=f"{re.escape(point.location)} and again, differently, at"):
            importlib.reload(module)
    assert faults.catalogue("test.reload") == [point]


@pytest.mark.parametrize("name", ["", " ", "a b", "a\tb", "a\n", "a=b", "a;b", "a\N{NO-BREAK SPACE}b"])
def test_refuses_names_that_no_text_could_configure(name: str) -> None:
    """Every declared failpoint can be named in FAILPOINTS."""
    for use in (
        lambda: faults.declare(name, ""),
        lambda: faults.configure(name, "off"),
        lambda: faults.configure_callback(name, print),
    ):
        with pytest.raises(faults.InvalidName, match=re.escape(repr(name))):
            use()


def test_catalogue_is_sorted_and_filtered() -> None:
    """The list of failpoints reads the same whatever the order of imports."""
    prefix = new_name()
    points = {name: faults.declare(f"{prefix}.{name}", "") for name in "cab"}
    assert faults.catalogue(f"{prefix}.") == [points["a"], points["b"], points["c"]]
    assert faults.catalogue(f"{prefix}.b") == [points["b"]]
    everything = [point.name for point in faults.catalogue()]
    assert everything == sorted(everything)
    assert {A.name, B.name, f"{prefix}.a"} <= set(everything)


# --- hitting


def test_unconfigured_hit_counts_and_does_nothing() -> None:
    """A hit of an unconfigured failpoint returns None and is counted; a reset restarts the count."""
    point = new_point()
    assert [point.hit() for _ in range(3)] == [None] * 3
    assert faults.hits(point.name) == 3
    faults.reset_hits()
    assert faults.hits(point.name) == 0
    point.hit()
    assert faults.hits(point.name) == 1


def test_without_configuration_no_hit_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failpoint whose configuration and observer are gone costs what it did before."""

    def observer(_point: FailPoint, _number: int) -> None:
        raise AssertionError("observed")

    faults.configure(A.name, "off")
    faults.observe(observer)
    faults.remove(A.name)
    faults.observe(None)
    monkeypatch.setattr(FailPoint, "_evaluate", observer)
    assert A.hit() is None


def test_hits_of_an_unknown_name_is_an_error() -> None:
    """A misspelt name is an error, and not a failpoint with no hits."""
    with pytest.raises(
        faults.NotDeclared, match=r"'test.failpoints.x' is declared; did you mean 'test.failpoints.[ab]'"
    ):
        faults.hits("test.failpoints.x")
    with pytest.raises(faults.NotDeclared, match="import the module that declares it first"):
        faults.hits("~~~~~~~~")


@pytest.mark.parametrize("armed", [False, True])
def test_threads_lose_no_hit(armed: bool) -> None:
    """The counter needs no lock: whatever the threads do, each hit is counted once, configured or not."""
    point = new_point()
    if armed:
        faults.configure(point.name, "off")
    thread_count, hits_each = 8, 5_000 if armed else 100_000

    def work() -> None:
        for _ in range(hits_each):
            point.hit()

    run_threads(thread_count, work)
    assert faults.hits(point.name) == thread_count * hits_each


@pytest.mark.parametrize("function", [FailPoint.hit, FailPoint._evaluate, faults.reset_hits])
def test_counting_gives_no_other_thread_a_chance(function: Callable[..., object]) -> None:
    """Between load and store of the counter no bytecode lets another thread run, which is why none is lost."""
    opcodes = [(instruction.opname, instruction.argval) for instruction in dis.get_instructions(function)]
    uses = [index for index, (_, argument) in enumerate(opcodes) if argument == "_hits"]
    between = {opname for opname, _ in opcodes[uses[0] : uses[-1] + 1]}
    assert {opcodes[uses[0]][0], opcodes[uses[-1]][0]} == {"LOAD_ATTR", "STORE_ATTR"}
    assert [opname for opname in between if re.match("CALL|PRECALL|JUMP|FOR_ITER|RESUME|SEND|YIELD", opname)] == []


def test_observed_hits_have_numbers_of_their_own() -> None:
    """Under eight threads every number from 1 on is given to exactly one hit."""
    point = new_point()
    seen: list[int] = []
    faults.observe(lambda _, number: seen.append(number))

    def work() -> None:
        for _ in range(2_000):
            point.hit()

    run_threads(8, work)
    assert sorted(seen) == list(range(1, 16_001))


class BusyRandom(random.Random):
    """Draws, and notices if two threads draw for one failpoint at once."""

    inside = overlaps = 0

    def random(self) -> float:
        BusyRandom.inside += 1
        BusyRandom.overlaps += BusyRandom.inside > 1
        time.sleep(0)  # Invites the others in.
        BusyRandom.inside -= 1
        return super().random()


def test_threads_share_a_count_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """`100*` fires a hundred times, not once more, whichever threads hit; only one of them chooses at a time."""
    monkeypatch.setattr(random, "Random", BusyRandom)
    faults.configure(A.name, "50%100*return(x)->off")
    fired: list[Return] = []

    def work() -> None:
        fired.extend(filter(None, (A.hit() for _ in range(100))))

    run_threads(8, work)
    assert fired == [Return("x")] * 100
    assert BusyRandom.overlaps == 0


# --- configuring


def test_configure_and_remove() -> None:
    """A configuration takes effect at the next hit, is listed as it was written, and leaves no trace once removed."""
    faults.configure(A.name, " 1*return(x) -> return(y) ")
    assert faults.configured() == {A.name: "1*return(x) -> return(y)"}
    assert [A.hit(), A.hit(), B.hit()] == [Return("x"), Return("y"), None]
    faults.configure(A.name, "1*return(z)")
    assert [A.hit(), A.hit()] == [Return("z"), None]
    faults.remove(A.name)
    faults.remove(A.name)
    assert (A.hit(), faults.configured()) == (None, {})


def test_configured_is_sorted() -> None:
    """The configuration is sorted, so that two runs print it alike."""
    for point in (B, A):
        faults.configure(point.name, "off")
    assert list(faults.configured()) == [A.name, B.name]


def test_malformed_actions_change_nothing() -> None:
    """A mistyped text leaves what was configured as it was."""
    faults.configure(A.name, "1*return(x)->return(y)")
    A.hit()
    with pytest.raises(faults.InvalidAction):
        faults.configure(A.name, "kil")
    assert A.hit() == Return("y")


def test_names_may_be_configured_before_they_are_declared() -> None:
    """A text can name failpoints of modules not imported yet; the first hit already follows it."""
    name = new_name()
    faults.configure(name, "return(x)")
    assert faults.declare(name, "late").hit() == Return("x")


def test_callback_is_called_without_arguments() -> None:
    """A callback runs at each hit in the thread that hits, its result ignored and its error passed on."""
    calls: list[int] = []

    def callback() -> str:
        calls.append(threading.get_ident())
        return "ignored"

    faults.configure_callback(A.name, callback)
    assert faults.configured() == {A.name: "callback"}
    assert [A.hit(), A.hit()] == [None, None]
    assert calls == [threading.get_ident()] * 2
    faults.configure_callback(A.name, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        A.hit()


def test_actions_run_outside_the_lock() -> None:
    """A callback that waits for another thread's hit and configuration does not block them."""
    done = threading.Event()

    def work() -> None:
        faults.configure(B.name, "return(x)")
        B.hit()
        done.set()

    def callback() -> None:
        threading.Thread(target=work, daemon=True).start()
        assert done.wait(30)

    faults.configure_callback(A.name, callback)
    A.hit()


def test_seed_makes_probabilities_repeat() -> None:
    """A seed fixes each failpoint's series, however the hits of several failpoints interleave; another seed gives another."""

    def draw(*points: FailPoint) -> list[list[Return | None]]:
        for point in points:
            faults.configure(point.name, "50%return")
        rows = [[point.hit() for point in points] for _ in range(64)]
        return [list(column) for column in zip(*rows, strict=True)]

    faults.seed(1)
    [a], [b] = draw(A), draw(B)
    assert draw(A, B) == draw(B, A)[::-1] == [a, b]
    assert a != b
    faults.seed(1)
    assert [A.hit() for _ in range(64)] == a
    faults.seed(2)
    assert [A.hit() for _ in range(64)] != a


def wait_until_waiting(thread: threading.Thread) -> None:
    """Return once the thread waits for a change of configuration, anew if it was just notified of one."""
    while not vars(failpoints_module._REGISTRY.changed)["_waiters"]:
        thread.join(0.001)
        assert thread.is_alive(), "the thread ended without waiting"


@pytest.mark.parametrize(
    "wake",
    [
        lambda: faults.remove(A.name),
        lambda: faults.configure(A.name, "return(x)"),
        lambda: faults.configure(A.name, "pause"),
        lambda: faults.configure_callback(A.name, lambda: None),
    ],
)
def test_pause_lasts_until_the_failpoint_changes(wake: Callable[[], None]) -> None:
    """A paused thread goes on, with None, when its own failpoint is configured anew or removed, and not before."""
    results: list[Return | None] = []
    faults.configure(A.name, "pause")
    thread = threading.Thread(target=lambda: results.append(A.hit()), daemon=True)
    thread.start()
    wait_until_waiting(thread)
    faults.configure(B.name, "off")
    faults.observe(None)
    faults.remove(B.name)
    wait_until_waiting(thread)
    assert results == []
    wake()
    thread.join(30)
    assert results == [None]


def test_pause_ends_even_if_the_old_configuration_comes_back() -> None:
    """A thread paused outside a scenario is woken by it, though the scenario restores the very pause."""
    faults.configure(A.name, "1*pause")
    thread = threading.Thread(target=A.hit, daemon=True)
    thread.start()
    wait_until_waiting(thread)
    with failpoints_module._REGISTRY.lock, faults.scenario(f"{A.name}=off", allow_unhit=True):
        pass
    thread.join(30)
    assert not thread.is_alive()


def test_pause_misses_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that comes after `pause` was chosen and before the thread waits still ends the pause."""
    registry = failpoints_module._REGISTRY
    wait_for_change = registry.wait_for_change

    def change_first(point: FailPoint, generation: int) -> None:
        faults.remove(point.name)
        wait_for_change(point, generation)

    monkeypatch.setattr(registry, "wait_for_change", change_first)
    faults.configure(A.name, "pause")
    thread = threading.Thread(target=A.hit, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()


# --- observing


def test_observer_sees_every_hit_before_its_action() -> None:
    """The observer is called at hits of all failpoints, configured or not, with the number, and can change that hit."""
    point, late = new_point(), new_name()
    seen: list[tuple[FailPoint, int]] = []

    def observer(hit_point: FailPoint, number: int) -> None:
        seen.append((hit_point, number))
        if number == 2:
            faults.configure(hit_point.name, "1*return(now)")

    point.hit()
    assert faults.observe(observer) is None
    declared_later = faults.declare(late, "declared while observed")
    assert [point.hit(), point.hit(), declared_later.hit()] == [Return("now"), None, None]
    assert seen == [(point, 2), (point, 3), (declared_later, 1)]
    faults.reset_hits()
    point.hit()
    assert seen[-1] == (point, 1)
    assert faults.observe(None) is observer
    point.hit()
    assert len(seen) == 4


def test_observer_stops_the_action_by_raising() -> None:
    """An observer's exception comes out of the hit, and the action's count is not used."""

    def refuse(_point: FailPoint, _number: int) -> None:
        raise LookupError

    faults.configure(A.name, "1*return(x)")
    faults.observe(refuse)
    with pytest.raises(LookupError):
        A.hit()
    faults.observe(None)
    assert A.hit() == Return("x")


# --- scenarios


def test_scenario_configures_for_a_block() -> None:
    """Inside the block the text holds; after it all is as before, remaining counts and later additions included."""
    faults.configure(A.name, "1*return(used)->return(rest)")
    A.hit()
    with faults.scenario(f"{A.name}=1*off->return(in);{B.name}=return(b)"):
        assert [A.hit(), A.hit(), B.hit()] == [None, Return("in"), Return("b")]
        faults.configure(new_name(), "off")
        faults.remove(A.name)
    assert [A.hit(), B.hit()] == [Return("rest"), None]
    assert faults.configured() == {A.name: "1*return(used)->return(rest)"}


def test_scenarios_nest() -> None:
    """An inner scenario adds to the outer one and gives it back."""
    with faults.scenario(f"{A.name}=return(outer);{B.name}=return(b)"):
        with faults.scenario(f"{A.name}=return(inner)"):
            assert [A.hit(), B.hit()] == [Return("inner"), Return("b")]
        assert A.hit() == Return("outer")


def test_scenario_that_was_not_hit_fails() -> None:
    """A test whose fault was never hit does not pass; the message distinguishes unhit from undeclared."""
    A.hit()
    with pytest.raises(faults.ScenarioNotHit) as caught, faults.scenario(f"{B.name}=off;z=off;{A.name}=off;y=off"):
        B.hit()
        faults.reset_hits()
    assert (caught.value.unhit, caught.value.undeclared) == ((A.name,), ("y", "z"))
    assert str(caught.value) == (
        f"never hit: {A.name} (does the block run the code they stand in?); "
        "never declared: y, z (spelt right, module imported?); pass allow_unhit=True if that is meant"
    )
    assert faults.configured() == {}


def test_scenario_accepts_a_failpoint_declared_in_its_block() -> None:
    """The block may import the module that declares the failpoint."""
    name = new_name()
    with faults.scenario(f"{name}=return(x)"):
        assert faults.declare(name, "late").hit() == Return("x")


def test_scenario_allows_unhit_if_told() -> None:
    """A sweep over failpoints may include some its workload does not reach."""
    with faults.scenario(f"{A.name}=off;nobody=off", allow_unhit=True):
        pass
    assert faults.configured() == {}


@pytest.mark.parametrize("error", [KeyError("own"), faults.Panic("own")])
def test_scenario_lets_the_blocks_error_through(error: BaseException) -> None:
    """The error of the block is what the test sees, not that a failpoint was left unhit; all is restored."""
    with pytest.raises(type(error)) as caught, faults.scenario(f"{A.name}=off"):
        raise error
    assert caught.value is error
    assert faults.configured() == {}


def test_malformed_scenario_changes_nothing() -> None:
    """A text with one mistake configures nothing."""
    with pytest.raises(faults.InvalidAction), faults.scenario(f"{A.name}=off;{B.name}=kil"):
        raise AssertionError("the block ran")
    assert faults.configured() == {}


def test_scenarios_of_threads_queue() -> None:
    """Tests that run in parallel threads see their own configuration only."""
    inside: list[int] = []
    overlaps: list[list[int]] = []
    results: set[tuple[int, str | None]] = set()

    def work() -> None:
        me = threading.get_ident()
        for _ in range(20):
            with faults.scenario(f"{A.name}=return({me})"):
                inside.append(me)
                time.sleep(0)  # Invites the others in.
                overlaps.append(list(inside))
                returned = A.hit()
                results.add((me, returned.value if returned else None))
                inside.remove(me)

    run_threads(6, work)
    assert {len(overlap) for overlap in overlaps} == {1}
    assert {value for _, value in results} == {str(me) for me, _ in results}
    assert len(results) == len({me for me, _ in results})


# --- processes

HIT_TWICE = """
import atexit, faults
point = faults.declare("p", "in a script")
atexit.register(print, "atexit", flush=True)
try:
    for number in (1, 2):
        print(number, point.hit(), flush=True)
finally:
    print("finally", flush=True)
"""
ENDED_WELL = "finally\natexit\n"


@pytest.mark.parametrize(
    ("value", "status", "output"),
    [
        ("", 0, "1 None\n2 None\n" + ENDED_WELL),
        ("p=return(x)", 0, "1 Return(value='x')\n2 Return(value='x')\n" + ENDED_WELL),
        (" ;p=1*off->return;;q=kill;", 0, "1 None\n2 Return(value=None)\n" + ENDED_WELL),
        ("p=1*off->kill", -9, "1 None\n"),
        ("p=exit(7)", 7, ""),
        ("p=1*off->exit(0)", 0, "1 None\n"),
        ("p=panic", 1, ENDED_WELL),
    ],
)
def test_environment_configures_a_whole_program(value: str, status: int, output: str) -> None:
    """FAILPOINTS reaches failpoints declared later; kill and exit end the process at the hit and run no handler."""
    process = run_python(HIT_TWICE, FAILPOINTS=value)
    assert (process.returncode, process.stdout) == (status, output)


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (
            {"FAILPOINTS": "p=off;q=2*sleep"},
            "FAILPOINTS: column 11 of 'p=off;q=2*sleep': sleep needs an argument; "
            "write milliseconds as a whole number from 0 to 18446744073709551615, as in sleep(100)",
        ),
        (
            {"FAILPOINTS": "p=off;\nkill"},
            "FAILPOINTS: column 8 of 'p=off;\\nkill': 'kill' is not name=actions; write as in wal.before_sync=kill",
        ),
        (
            {"FAILPOINTS_SEED": "se\nven"},
            "FAILPOINTS_SEED: 'se\\nven' is not a whole number; give one, as in FAILPOINTS_SEED=7",
        ),
    ],
)
def test_malformed_environment_stops_the_program(environment: dict[str, str], line: str) -> None:
    """A program whose faults are misspelt does not run as if there were none: one line, status 2."""
    process = run_python(HIT_TWICE, **environment)
    assert (process.returncode, process.stdout, process.stderr) == (2, "", line + "\n")


def test_environment_seed_repeats_in_every_process() -> None:
    """A seed draws the same in another process, whatever its hash seed."""
    script = "from crashmatrix import faults; point = faults.declare('p', ''); print([point.hit() is None for _ in range(64)])"
    environment = {"FAILPOINTS": "p=50%return"}
    seven = run_python(script, FAILPOINTS_SEED="7", PYTHONHASHSEED="1", **environment).stdout
    assert run_python(script, FAILPOINTS_SEED=" 7", PYTHONHASHSEED="2", **environment).stdout == seven
    assert run_python(script, FAILPOINTS_SEED="8", **environment).stdout != seven
    assert run_python(script, FAILPOINTS_SEED="", **environment).stdout == run_python(script, **environment).stdout


def test_kill_kills_the_first_process_of_a_container() -> None:
    """The kernel ignores a SIGKILL that process 1 sends itself; the program ends at the hit all the same."""
    unshare = ["unshare", "--pid", "--fork"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets us make no process namespace")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FAILPOINTS": "p=kill"}
    command = [*unshare, sys.executable, "-c", HIT_TWICE]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (process.returncode, process.stdout) == (137, "")


FORK = """
import os, signal, sys, threading, warnings
from crashmatrix import faults

warnings.simplefilter("ignore", DeprecationWarning)  # Forking with threads is what is tested.
signal.alarm(50)
point = faults.declare("p", "in a script")
seen = []


def child():
    signal.alarm(20)
    assert seen == [1]
    assert [point.hit(), point.hit()] == [None, faults.Return("x")]
    assert (seen, faults.hits("p")) == ([1, 2, 3], 3)
    with faults.scenario("p=return(y)"):
        assert point.hit() == faults.Return("y")
    faults.configure("p", "pause")
    thread = threading.Thread(target=point.hit)
    thread.start()
    faults.remove("p")
    thread.join()


def fork():
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException as error:
            sys.stderr.write(f"{error!r}")
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        print("status", status)


faults.observe(lambda point, number: seen.append(number))
faults.configure("p", "2*off->return(x)")
point.hit()
"""


def test_forked_child_keeps_the_registry_but_no_lock() -> None:
    """A child forked while another thread is in a scenario has configuration, counts and observer, and can use them."""
    process = run_python(
        FORK
        + """
inside, leave = threading.Event(), threading.Event()
def work():
    with faults.scenario(""):
        inside.set()
        leave.wait()
thread = threading.Thread(target=work)
thread.start()
inside.wait()
fork()
leave.set()
thread.join()
"""
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_fork_waits_for_a_change_to_be_whole() -> None:
    """A child forked while another thread is changing the registry finds the change made, not half made."""
    process = run_python(
        FORK
        + """
from crashmatrix.faults.failpoints import _REGISTRY
inside, forking = threading.Event(), threading.Event()
os.register_at_fork(before=forking.set)  # Called before the registry's own, which was registered first.
def work():
    with _REGISTRY.lock:
        plan = _REGISTRY.plans.pop("p")
        inside.set()
        forking.wait()
        for _ in range(100):
            os.sched_yield()
        _REGISTRY.plans["p"] = plan
thread = threading.Thread(target=work)
thread.start()
inside.wait()
pid = os.fork()
if pid == 0:
    os._exit(len(faults.configured()))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
thread.join()
"""
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


@pytest.mark.lengthy
def test_many_forks_under_load() -> None:
    """Children forked while other threads configure all find a registry that works, and so does their parent."""
    process = run_python(
        FORK
        + """
sys.setswitchinterval(1e-6)
stop = False
def work():
    while not stop:
        faults.configure("q", "50%off->2*print->yield")
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(40):
    fork()
stop = True
for thread in threads:
    thread.join()
fork()
"""
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_fork_inside_a_scenario_leaves_it_cleanly() -> None:
    """Parent and child of a fork in a scenario's block both leave the block without an error."""
    process = run_python(
        FORK
        + """
with faults.scenario("p=return(x)"):
    pid = os.fork()
    assert point.hit() == faults.Return("x")
assert point.hit() is None
with faults.scenario("p=return(y)"):
    assert point.hit() == faults.Return("y")
if pid:
    assert os.waitpid(pid, 0)[1] == 0
"""
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
