"""Which recordings a run makes, and where the workloads of restarts are killed; what they are like is in `test_restarts.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.power.rounds import RESUMED_AFTER_KILL, restart
from crashmatrix.scenarios.power.schedule import Recordings, in_turns, recovery_of
from crashmatrix.scenarios.recorded.restarts import KillPoint, Places

TOYS = "tests.scenarios.toy_systems"
RESUMABLE = "tests.scenarios.second_life_systems"


def points(*notes: int, sync: int = 0) -> tuple[KillPoint, ...]:
    return tuple(KillPoint(note, sync) for note in notes)


FAILPOINTS: Places = {"put.done": points(1, 4, 7), "put.synced": points(2)}
LINES: Places = {"attempt": points(3, 5), "journal.after_attempt": points(6)}
SYNCS: Places = {"fsync 1": points(1, 3, sync=1), "fsync 2": points(1, 3, sync=2)}


@pytest.mark.parametrize(
    ("at_notes", "at_syncs", "taken"),
    [
        ({}, {}, {}),
        (FAILPOINTS, {}, FAILPOINTS),
        (LINES, {}, LINES),
        (FAILPOINTS, SYNCS, FAILPOINTS),  # 4 at failpoints, 4 syncs
        ({"put.synced": points(2, 4)}, SYNCS, {"put.synced": points(2, 4)}),  # 2 of 4 is enough
        ({"put.synced": points(2)}, SYNCS, SYNCS),
        (LINES, SYNCS, SYNCS),
        ({}, SYNCS, SYNCS),
    ],
)
def test_in_turns(at_notes: Places, at_syncs: Places, taken: Places) -> None:
    """Each place once, one of each sort first; at failpoints if they come before half of the syncs at least."""
    found = in_turns(at_notes, at_syncs, 0)
    assert sorted(found, key=lambda place: place.numbers) == sorted(
        (place for places in taken.values() for place in places), key=lambda place: place.numbers
    )
    first = [next(sort for sort, places in taken.items() if place in places) for place in found[: len(taken)]]
    assert sorted(first) == sorted(taken)
    assert in_turns(at_notes, at_syncs, 0) == found


def test_one_seed_one_order() -> None:
    """Another seed takes the places in another order."""
    assert len({tuple(in_turns(FAILPOINTS, {}, seed)) for seed in range(8)}) > 1


def test_recordings_come_in_order_and_recoveries_join(tmp_path: Path) -> None:
    """A recovery comes once it is called for; its parent's trace is removed."""
    with workbench(Plan(target=f"{RESUMABLE}:GoesOnSynced", report=tmp_path / "report")) as (checker, _):
        kinds = [("posix", kind) for kind in ("none", restart(1), restart(99), RESUMED_AFTER_KILL)]
        found = []
        with Recordings(checker.jobs, checker.target, checker.folder(), 0, kinds) as recordings:
            for recording in recordings:
                found.append(recording)
                if len(found) == 1:
                    states = [recovery_of(recording, "5-none"), recovery_of(recording, "9-none", resumed=True)]
                    recordings.recover(recording, states)
            assert recordings.left == 0
    first, *others = found  # There are no 99 places to kill at.
    assert first.name == "posix~none~0"
    assert not first.trace.exists()
    names = {"posix~none~0/5-none", "posix~none~0/9-none~resumed", "posix~restart1~0", "posix~resumed~0"}
    assert {each.name for each in others} == names
    of = {each.name: each for each in found}
    assert of["posix~none~0/5-none"].of == ("posix~none~0", "5-none")
    assert of["posix~none~0/5-none"].point == "posix~none~0 recovery"
    assert of["posix~restart1~0"].killed is not None
    assert of["posix~none~0/9-none~resumed"].point == "posix~none~0 second life"
    assert of["posix~none~0/9-none~resumed"].resumed == "the power cut 9-none"
    killed = of["posix~resumed~0"]
    assert killed.resumed.startswith("a kill before ") and killed.of is None
    assert all(each.initial == tuple(range(len(each.initial))) for each in others if each.resumed)


@pytest.mark.parametrize(
    ("toy", "said"), [("DiesByItself", "recording"), ("TooMany", "it had more than 512 processes")]
)
def test_a_workload_that_fails_is_refused(toy: str, said: str, tmp_path: Path) -> None:
    """One line, about the target; a workload that takes more than it may have is ended for it."""
    with workbench(Plan(target=f"{TOYS}:{toy}", report=tmp_path / "report")) as (checker, _):
        making = Recordings(checker.jobs, checker.target, checker.folder(), 0, [])
        with pytest.raises(UsageError, match=said):
            making.record("posix", "none")


RAISES = """
from crashmatrix import SystemUnderTest

class Raises(SystemUnderTest):
    contract = "prefix"

    def workload(self, root, journal):
        raise ValueError("the third one is odd")

    def recover(self, root):
        return []
"""


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("nudge", ["mixed", "async"])
def test_the_words_of_a_workload_that_fails(nudge: str, tmp_path: Path) -> None:
    """They are the same, and said once, whether its system calls are watched or not."""
    (tmp_path / "store.py").write_text(RAISES)
    with workbench(Plan(target=f"{tmp_path}/store.py:Raises", report=tmp_path / "report")) as (checker, _):
        making = Recordings(checker.jobs, checker.target, checker.folder(), 0, [])
        with pytest.raises(UsageError) as error:
            making.record("ext4", nudge)
    said = "the workload ended with status 1: store.py, line 8: ValueError: the third one is odd; fix the workload"
    assert str(error.value) == f"recording {tmp_path}/store.py:Raises: {said}"
