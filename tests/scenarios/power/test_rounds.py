"""Which recordings of the workload a run makes, and how they share its budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.power.rounds import (
    NUDGES,
    RESTARTS,
    RESUMED_AFTER_KILL,
    STATES_MAX,
    Rounds,
    Weights,
    drawn,
    is_restart,
    nudges_on,
    restart,
)
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.restarts import KillPoint
from crashmatrix.scenarios.shards import Shard

RESTARTED = [restart(number) for number in range(1, 2 * RESTARTS + 1)]


def test_nudges_on() -> None:
    """Each kind where it makes a difference; one recording without any where none does."""
    assert nudges_on("ext4") == NUDGES
    assert nudges_on("ext4", ("commit", "unheard-of")) == ("commit",)
    assert nudges_on("posix") == ("none",)


def test_a_kind_and_which_draw_of_it() -> None:
    """The first has no number."""
    assert [drawn(kind) for kind in ("mixed", "mixed2", "resumed12")] == [("mixed", 1), ("mixed", 2), ("resumed", 12)]
    assert is_restart(restart(4)) and drawn(restart(4))[1] == 4
    assert not is_restart("resumed2")


def test_rounds_draw_other_nudges_and_kill_at_other_places() -> None:
    """No two recordings of a run have one name."""
    rounds = Rounds(resumes=True)
    assert rounds.begin() == 1
    assert [kind for _, kind in rounds.kinds] == [*NUDGES, *RESTARTED[:RESTARTS], RESUMED_AFTER_KILL]
    rounds.begin()
    again = [f"{nudge}2" for nudge in NUDGES]
    assert [kind for _, kind in rounds.kinds] == [*again, *RESTARTED[RESTARTS:], f"{RESUMED_AFTER_KILL}2"]
    assert {filesystem for filesystem, _ in rounds.kinds} == {"ext4"}


def test_a_later_round_is_made_only_where_nudges_make_a_difference() -> None:
    """On `posix`, another recording would have the same writes."""
    both = Rounds(ExperimentOptions(filesystems=("posix", "ext4")))
    both.begin()
    assert {filesystem for filesystem, _ in both.kinds} == {"posix", "ext4"}
    both.begin()
    assert {filesystem for filesystem, _ in both.kinds} == {"ext4"}
    posix = Rounds(ExperimentOptions(filesystems=("posix",)))
    posix.begin()
    assert not posix.goes_on(news=5, left=STATES_MAX)


def test_shards_share_each_round() -> None:
    """Together they make it, each recording once; each gets its part of the budget."""
    shards = [Rounds(ExperimentOptions(shard=Shard(number, 3))) for number in (1, 2, 3)]
    for _ in range(2):
        whole = Rounds(number=shards[0].number)
        assert whole.begin() == pytest.approx(sum(shard.begin() for shard in shards))
        assert sorted(kind for shard in shards for kind in shard.kinds) == sorted(whole.kinds)


@pytest.mark.parametrize(
    ("budget", "sampled", "number", "news", "left", "goes_on"),
    [
        (None, False, 1, 30, STATES_MAX // 2, True),
        (None, False, 1, 30, STATES_MAX // 20, False),
        (None, False, 1, 0, STATES_MAX // 2, False),
        (None, False, 2, 30, STATES_MAX // 2, False),
        (None, True, 1, 30, STATES_MAX // 2, False),
        (STATES_MAX - 1, False, 1, 30, STATES_MAX // 2, False),
        (3 * STATES_MAX, False, 3, 30, STATES_MAX, True),
        (3 * STATES_MAX, False, 4, 30, STATES_MAX, False),
    ],
)
def test_how_many_rounds(budget: int | None, sampled: bool, number: int, news: int, left: int, goes_on: bool) -> None:
    """As long as there is something new and much is left; a larger budget has more of them, a smaller one or a sample one."""
    rounds = Rounds(ExperimentOptions(budget=budget, sampled=sampled), number=number)
    assert rounds.goes_on(news, left) is goes_on


@pytest.mark.parametrize(("left", "expected"), [(200, 20 + 50), (70, 20 + 50), (50, 20), (0, 20)])
def test_another_round_is_expected_if_much_will_be_left(left: int, expected: float) -> None:
    """With one state for each unit of what can differ, the two recordings to come take twenty; a tenth of the budget is forty."""
    rounds = Rounds(restarts=0)
    rounds.begin()
    assert rounds.expected(recorded(10), 2, left, rate=1) == expected


def test_a_recording_of_a_later_round_gets_half_of_what_is_left() -> None:
    """Those after it will hardly need it. In the first round, all get as much as can differ in them."""
    rounds = Rounds(restarts=0)
    rounds.begin()
    assert rounds.part(recorded(10), len(NUDGES) - 1, 400) == 400 // len(NUDGES)
    rounds.begin()
    assert rounds.part(recorded(10), len(NUDGES) - 1, 400) == 200
    assert rounds.part(recorded(10), 0, 70) == 70


def recorded(weight: float, *, killed: bool = False) -> Recording:
    return Recording("r", "posix", "none", 0, Path("r"), killed=KillPoint(1) if killed else None, weight=weight)


AFTER_KILLS = [("posix", "restart1"), ("posix", "restart2"), ("posix", "restart3"), ("posix", RESUMED_AFTER_KILL)]


def test_a_recording_gets_as_much_of_the_budget_as_can_differ_in_it() -> None:
    """The undisturbed one on `posix` gets half, recordings after a kill the rest; then what is known of their sort counts."""
    weights = Weights()
    assert weights.part(recorded(100), AFTER_KILLS, 1000) == 500
    assert weights.part(recorded(30, killed=True), AFTER_KILLS[1:], 500) == 125
    assert weights.part(recorded(90, killed=True), AFTER_KILLS[2:], 375) == 125
    assert weights.part(recorded(10, killed=True), [], 250) == 250


def test_undisturbed_recordings_share_alike() -> None:
    """Recordings under other nudges are expected to be like the one before."""
    weights = Weights()
    to_come = [("posix", "commit"), ("posix", "storm")]
    assert weights.part(recorded(50), to_come, 300) == 100
    assert weights.part(recorded(150), to_come[1:], 200) == 100
