"""One recording serves for every fault that would have answered its requests alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest

from crashmatrix.scenarios.io_error.disk.serving import Serving, alike
from crashmatrix.scenarios.io_error.faults import WRITE, RequestFault


@dataclass
class Made:
    since: int


@pytest.mark.parametrize("since", [1, 2, 3, 9])
def test_faults_that_answer_alike(since: int) -> None:
    """`once` fails one request, `twice` two, `on` all of them: they are alike in a run that made no more."""
    failed = {"once": 1, "twice": 2, "on": 9}
    for one, of_one in failed.items():
        for other, of_other in failed.items():
            assert alike(one, other, since) == (min(of_one, since) == min(of_other, since))


@pytest.mark.parametrize(
    ("since", "recorded"),
    [(0, ["once", "twice", "on"]), (1, ["once"]), (2, ["once", "twice"]), (3, ["once", "twice", "on"])],
)
def test_a_recording_serves(since: int, recorded: list[str]) -> None:
    """Another one is made where a later request would have got another answer, or nobody knows how many there were."""
    serving, made = Serving[Made](), list[str]()

    def record(times: str) -> Made:
        made.append(times)
        return Made(since)

    for times in ("once", "twice", "on"):
        _, served = serving.of(RequestFault("ext4", WRITE, 3, "EIO", times), partial(record, times))
        assert served == (times not in made)
    assert made == recorded


def test_another_request_or_error_is_recorded() -> None:
    """A recording serves for faults at its own request, with its own error."""
    serving = Serving[Made]()
    faults = [
        RequestFault("ext4", WRITE, 3, "EIO"),
        RequestFault("ext4", WRITE, 3, "ENOSPC"),
        RequestFault("ext4", WRITE, 4, "EIO"),
    ]
    assert not any(serving.of(fault, lambda: Made(1))[1] for fault in faults)
    assert all(serving.of(fault, lambda: Made(1))[1] for fault in faults)
