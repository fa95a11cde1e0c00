"""Chooses the tests that this machine can run, marks the quick ones, and orders them.

- A test that records or mounts uses the fixture `disk` (a real filesystem: root, FUSE, loop devices) or `fuse` (`posix`). It is
  skipped with the reason if the machine lacks these; in continuous integration that is a failure.
- A test with many alike cases that take long is marked `daily(n)`: n of them run each day, all in `make test-all`.
- A test whose cases take a second or more is marked `lengthy`, as are those in a browser.
- A test that runs a whole experiment, every built-in system, a planted bug, or the program is marked `experiment`: by hand, or
  because its module, or that of a fixture, imports the code that runs one.

The packages are compiled first: see `_compile`.

`make test-quick` runs the tests with none of these marks. There (CRASHMATRIX_QUICK=1) the devices cannot be opened and no
experiment can begin, so a test that lacks its fixture or its mark fails.
"""

import compileall
import gc
import os
import re
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

sys.dont_write_bytecode = False  # See `pytest_collection`; for what is imported here, too.

import pytest
from hypothesis import HealthCheck, settings

from crashmatrix.faults.disk import Missing, requirements
from crashmatrix.faults.disk.linux.kernel import make_propagation_private, mount, unshare_mounts
from crashmatrix.scenarios.campaign import workbench
from tests import ROOT

settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")  # A busy machine is not a failure.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # In the background of a shell script; children inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # Under nohup.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

_MS_NODEV, _MS_REMOUNT, _MS_BIND = 0x4, 0x20, 0x1000  # linux/mount.h
QUICK = os.environ.get("CRASHMATRIX_QUICK") == "1"

_LONGEST = (
    "cli/test_main.py",
    "cli/test_commands.py",
    "power/test_experiment.py",
    "reference/test_engine.py",
    "reference/test_mutants.py",
    "power/test_posix.py",
    "explain/test_findings.py",
    "kill/test_second_lives.py",
    "judging/test_out_of_bounds.py",
    "judging/test_undisturbed.py",
    "kill/test_explain.py",
    "scenarios/test_pytest_fixture.py",
    "systems/test_command.py",
    "target/test_bad_targets.py",
    "docs/test_examples.py",
    "tests/test_workflows.py",
    "tests/test_installed.py",
    "reference_wal/test_error_sweep.py",
)
"""First, so that no worker begins with one of them when the others are done."""


_RUNNING = ("Campaign", "CRASHMATRIX", "crashmatrix", "run_kill", "workbench")
"""A module with one of these names runs experiments, or the program."""


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _compile()
    if QUICK:
        _forbid_devices()
        workbench.workbench = _refuse  # type: ignore[assignment]  # before any test has imported it


def _compile() -> None:
    """Compile what the processes of tests import: with PYTHONDONTWRITEBYTECODE, each would compile it again, in 0.3 seconds."""
    for package in ("faults", "reports", "scenarios", "reference_wal", "tests"):
        compileall.compile_dir(ROOT / package, quiet=2, rx=re.compile(r"/test_"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    _leave_most_to_test_all(items)
    for item in items:
        if {"disk", "fuse"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.recorded)
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lengthy)
        if any(name in module for name in _RUNNING for module in _modules(item)):
            item.add_marker(pytest.mark.experiment)
    items.sort(key=_rank)


def _modules(item: pytest.Item) -> Iterator[Mapping[str, object]]:
    """The names in the modules of a test and of its fixtures, except the fixtures that stand here."""
    yield vars(getattr(item, "module", pytest))
    information = getattr(item, "_fixtureinfo", None)
    for definitions in information.name2fixturedefs.values() if information else ():
        for function in (definition.func for definition in definitions):
            if getattr(function, "__module__", __name__) != __name__:
                yield getattr(function, "__globals__", {})


def pytest_collection() -> None:
    gc.disable()  # A quarter of the time; nothing is garbage yet.
    sys.dont_write_bytecode = (
        False  # Else each process of each run rewrites the assertions of all tests, and of Hypothesis.
    )


def pytest_collection_finish() -> None:
    sys.dont_write_bytecode = sys.flags.dont_write_bytecode == 1
    gc.enable()
    gc.collect()
    gc.freeze()  # Thousands of tests; each collection in a test, and in a process forked from here, would look at them all.


def _leave_most_to_test_all(items: list[pytest.Item]) -> None:
    """Mark the cases of a test with `daily(n)` as slow, except n of them, evenly spread."""
    cases: dict[tuple[Path, str], list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("daily") and not item.get_closest_marker("slow"):
            cases.setdefault((item.path, getattr(item, "originalname", item.name)), []).append(item)
    for alike in cases.values():
        (marker,) = alike[0].iter_markers("daily")
        count = min(marker.args[0], len(alike))
        chosen = {(2 * number + 1) * len(alike) // (2 * count) for number in range(count)}
        for at, item in enumerate(alike):
            if at not in chosen:
                item.add_marker(pytest.mark.slow)


def _rank(item: pytest.Item) -> int:
    name = f"{item.path.parent.name}/{item.path.name}"
    return _LONGEST.index(name) if name in _LONGEST else len(_LONGEST)


def _refuse(*_: object) -> NoReturn:
    raise AssertionError("a whole experiment: mark this test `experiment`")


def _forbid_devices() -> None:
    """Hide the devices from this process and its children. Without root, `requirements` alone does so."""
    if os.geteuid() or not Path("/dev/fuse").exists():
        return
    unshare_mounts()
    make_propagation_private()
    for device in (Path("/dev/fuse"), Path("/dev/loop-control")):
        mount(str(device), device, "none", _MS_BIND)
        mount("none", device, "none", _MS_BIND | _MS_REMOUNT | _MS_NODEV)


@pytest.fixture(autouse=True)
def _stays_in_its_namespaces() -> Iterator[None]:
    """A test that moved its process would change what later tests of the same worker see, or whether they can start threads."""
    before = _namespaces()
    yield
    assert _namespaces() == before, "the test left this process in another namespace"


def _namespaces() -> list[str]:
    return [os.readlink(f"/proc/thread-self/ns/{kind}") for kind in ("mnt", "pid_for_children", "net", "user")]  # noqa: PTH115


@pytest.fixture
def disk() -> None:
    """Use it in each test that records on a real filesystem, or mounts one."""
    _need(requirements())


@pytest.fixture
def fuse() -> None:
    """Use it in each test that records on `posix` only."""
    _need(requirements(("posix",)))


def _need(missing: list[Missing]) -> None:
    if not missing:
        return
    reason = "; ".join(map(str, missing))
    if os.environ.get("CI") == "true":
        pytest.fail(f"continuous integration must be able to run this: {reason}")
    pytest.skip(reason)
