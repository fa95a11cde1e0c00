"""Prints what each test costs, in seconds of processor time: of its process, and of everything that it started.

`make test-cost` loads this as a plugin and prints the dearest files and tests. Wall time depends on what else the machine does;
this hardly does. A process that one test starts and others use, such as a fork server, is charged to the test that uses it.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_SHOWN = 40
_STARTED = pytest.StashKey[float]()
_TICKS = os.sysconf("SC_CLK_TCK")

_costs: defaultdict[str, float] = defaultdict(float)
"""By the test's id."""


def _spent() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + _below(os.getpid())


def _below(parent: int) -> float:
    """Return what the children that still run have used, with their children."""
    spent = 0.0
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # The thread has ended.
            continue
        for child in children:
            try:
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            spent += sum(map(int, fields[11:15])) / _TICKS + _below(int(child))
    return spent


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[_STARTED] = _spent()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    if call.when == "teardown":
        item.user_properties.append(("cpu", round(_spent() - item.stash[_STARTED], 3)))
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        _costs[report.nodeid] += float(str(dict(report.user_properties).get("cpu", 0)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    files, tests = defaultdict[str, float](float), defaultdict[str, float](float)
    for name, cost in _costs.items():
        files[name.partition("::")[0]] += cost
        tests[name.partition("[")[0]] += cost
    for kind, counted in (("files", files), ("tests, all cases together", tests)):
        terminalreporter.section(f"processor time, dearest {kind}")
        for name, cost in sorted(counted.items(), key=lambda each: -each[1])[:_SHOWN]:
            terminalreporter.write_line(f"{cost:7.1f} s  {name}")
    terminalreporter.write_line(f"{sum(_costs.values()):7.1f} s  in all, besides collection and distribution")
