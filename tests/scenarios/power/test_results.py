"""The ids of power cuts, and how a judged state becomes a result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.power.results import (
    checks_in_words,
    circumstances,
    coverage_in_words,
    nothing_differed,
    parse_power_id,
    power_id,
    restarts_in_words,
    result_of,
)
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.restarts import KillPoint
from crashmatrix.scenarios.recorded.state_verdict import REPEATED, VERIFIED, Check, Judged, for_

RECORDING = Recording("ext4~commit~0", "ext4", "commit", 0, Path("trace"))


@pytest.mark.parametrize("recording", ["ext4~commit~0", "ext4:commit=300~mixed~7", "ext4~commit~0/12-none"])
def test_ids_are_taken_apart_again(recording: str) -> None:
    """A recording's name may hold colons, a state's does not."""
    assert parse_power_id(power_id(recording, "12-none")) == (recording, "12-none")


@pytest.mark.parametrize(
    "text", ["", "power", "power:", "power::", "power:a", "power:a:", "power::b", "kill:a:b", "a:b:c"]
)
def test_what_is_not_an_id(text: str) -> None:
    """Text that is not an id is refused with the form of ids."""
    with pytest.raises(UsageError, match="power:RECORDING:STATE"):
        parse_power_id(text)


@pytest.mark.parametrize(
    ("recording", "state", "differs", "expected"),
    [
        (RECORDING, "12-none", True, ("power:ext4~commit~0:12-none", 12, 0, "power-cut", "gone")),
        (RECORDING, "12-all", False, ("power:ext4~commit~0:12-all", 12, 0, "clean-end", "gone")),
        (RECORDING, "none", True, ("power:ext4~commit~0:none", 0, 0, "power-cut", "gone")),
        (
            replace(RECORDING, of=("other", "3-none")), "4-all", True,
            ("power:ext4~commit~0:4-all", 4, 1, "power-cut", "power went again during the recovery from 3-none: gone"),
        ),
        (
            replace(RECORDING, killed=KillPoint(note=2)), "4-all", True,
            (
                "power:ext4~commit~0:4-all", 4, 0, "power-cut",
                "the process was killed at note 2 and restarted, then the power went: gone",
            ),
        ),
        (
            replace(RECORDING, killed=KillPoint(note=2), problem="gone"), "none", True,
            ("power:ext4~commit~0:none", 0, 0, "power-cut", "the process was killed at note 2 and restarted: gone"),
        ),
    ],
)  # fmt: skip
def test_results(recording: Recording, state: str, differs: bool, expected: tuple[str, int, int, str, str]) -> None:
    """A result says which state of which recording it is, how deep, and what happened besides the power cut."""
    result = result_of(recording, Judged(state, Verdict.LOSES, "gone", differs=differs))
    assert (result.id, result.hit, result.depth, result.method, result.explanation) == expected


def test_nothing_is_said_of_a_safe_state() -> None:
    """Without an explanation, the circumstances explain nothing."""
    assert circumstances(replace(RECORDING, of=("other", "3-none")), "") == ""


def account(outcomes: int, *, exhaustive: bool) -> dict[str, object]:
    return {"outcomes": outcomes, "choices": 1200, "exhaustive": exhaustive}


@pytest.mark.parametrize(
    ("accounts", "words"),
    [
        ([(1412, True)], "all 1,412 distinct outcomes of the recording"),
        ([(1412, True), (8, True)], "all 1,420 distinct outcomes of these recordings"),
        (
            [(12, False)],
            "12 distinct outcomes of the recording, in which 1,200 sectors and other changes could be there or not",
        ),
        (
            [(12, False), (30, True), (5, False)],
            "all 30 distinct outcomes of 1 of these recordings and 17 distinct outcomes of the other 2 recordings, "
            "in which 2,400 sectors and other changes could be there or not",
        ),
        (
            [(12, False), (30, True)],
            "all 30 distinct outcomes of 1 of these recordings and 12 distinct outcomes of the other recording, "
            "in which 1,200 sectors and other changes could be there or not",
        ),
        ([], "nothing"),
    ],
)
def test_coverage_in_words(accounts: list[tuple[int, bool]], words: str) -> None:
    """A report claims all outcomes only of recordings that were exhausted."""
    assert coverage_in_words([account(number, exhaustive=whole) for number, whole in accounts]) == f"judged: {words}"


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((3, 3, 0), ""),
        ((0, 0, 0), ""),
        (
            (3, 13, 0),
            "restarts: the workload was killed at 3 of 13 places; a larger --budget and another --seed",
        ),
        (
            (1, 13, 2),
            "restarts: the workload was killed at 1 of 13 places; 2 more times it ended before it came",
        ),
        (
            (3, 3, 1),
            "restarts: the workload was killed at 3 of 3 places; 1 more time it ended before it came",
        ),
    ],
)
def test_restarts_in_words(counts: tuple[int, int, int], words: str) -> None:
    """A run says where it was not killed."""
    said = restarts_in_words(*counts)
    assert said.startswith(words) and bool(said) == bool(words)


@pytest.mark.parametrize(
    ("account", "words"),
    [
        ({"exhaustive": True, "outcomes": 3}, "no crash state differed from the clean end"),
        (
            {"exhaustive": False, "outcomes": 1},
            "no crash state differed from the clean end, but only 1 of its outcomes was judged; raise --budget",
        ),
        (
            {"exhaustive": False, "outcomes": 1_200},
            "no crash state differed from the clean end, but only 1,200 of its outcomes were judged; raise --budget",
        ),
    ],
)
def test_nothing_differed(account: dict[str, object], words: str) -> None:
    """A small budget is named as the cause, with the remedy, unless every outcome was judged."""
    assert nothing_differed(account) == words


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        ([], "besides the contract: recovery was repeated in 3 recovered folders"),
        (
            [for_(VERIFIED, "aa"), for_(VERIFIED, "bb"), (VERIFIED, 4), for_(REPEATED, "cc"), (REPEATED, 4)],
            "besides the contract: the system's own verify passed in 2 recovered folders; recovery was repeated in "
            "3 recovered folders",
        ),
    ],
)
def test_checks_in_words(passed: list[Check], words: str) -> None:
    """Folders count once, whatever had been promised; second recoveries of all recordings add up."""
    assert checks_in_words(passed, [{"second_recoveries": 1}, {"second_recoveries": 2}]) == words
