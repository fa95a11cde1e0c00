"""Guesses from the run's next writes: which syncs are tried if no loss is known."""

from __future__ import annotations

from typing import Any

import pytest

from crashmatrix.faults.disk.trace.named import METADATA, Named
from crashmatrix.scenarios.power.explain.causes import Suspect
from crashmatrix.scenarios.power.explain.guesses import cause_of_later, cause_of_unwritten
from tests.scenarios.power.explain.test_causes import ack, data, names

LATER: list[Any] = [
    pytest.param([], [], id="nothing"),
    pytest.param([data("(outside)/x"), Named(kind=METADATA)], [], id="nothing of the store's"),
    pytest.param([data("log")], [("no fsync of log before the acknowledgement of 0", ("log",))], id="one file"),
    pytest.param(
        [data("log"), names(".", "log made"), data("log")],
        [
            ("no fsync of log before the acknowledgement of 0", ("log",)),
            ("no fsync of the store's folder before the acknowledgement of 0", ("./",)),
            ("no fsync of what 0 consists of before its acknowledgement", ("log", "./")),
        ],
        id="a file and a name, then both",
    ),
]


def test_files_alike_are_suspected_together() -> None:
    """It is not known which of several files was lost, and the trial syncs all of them: so the cause names their pattern."""
    (suspect,) = cause_of_later([data("log.1"), data("log.2"), data("log.1")], "0").suspects
    assert suspect == Suspect("no fsync of log.* before the acknowledgement of 0", ack("log.*"))
    (suspect,) = cause_of_unwritten([data("map.1"), data("map.2")], "0").suspects
    assert suspect.cause == "no msync of map.* before the acknowledgement of 0"


@pytest.mark.parametrize(("later", "suspects"), LATER)
def test_cause_of_later(later: list[Named], suspects: list[tuple[str, tuple[str, ...]]]) -> None:
    """The next write is a suspect, and becomes the cause only once it was tried."""
    cause = cause_of_later(later, "0")
    assert cause.cause == ""
    assert [(suspect.cause, suspect.remedy.paths) for suspect in cause.suspects] == suspects
    assert cause.because.startswith("In the recorded run, the next writes") is bool(suspects)


@pytest.mark.parametrize(
    ("later", "suspects"),
    [
        ([], []),
        ([data("map"), names(".", "x made"), data("(outside) y")], ["no msync of map before the acknowledgement of 0"]),
    ],
)
def test_cause_of_unwritten(later: list[Named], suspects: list[str]) -> None:
    """An item for which nothing was called is in memory: in a mapped file, if a trial says so, else in the process."""
    cause = cause_of_unwritten(later, "0")
    assert [suspect.cause for suspect in cause.suspects] == suspects
    assert cause.otherwise == "0 was acknowledged before anything of it was handed to the kernel"
    assert cause.cause == ""
