"""The plan: what each call can fail with, which faults are left out, and ids."""

from __future__ import annotations

import pytest

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.io_error.messages import Place
from crashmatrix.scenarios.io_error.plan import ENDINGS, VARIANTS, choose, faults_at, parse_id, scenario_id
from crashmatrix.scenarios.processes.calls.call_faults import CLASSES, CallFault, Made

NAMES = {"open": "openat", "truncate": "ftruncate", "allocate": "fallocate"}


def places(text: str) -> list[Place]:
    """Places in short: `write:a` is a write to a; a second word of it is the stack, as in `write:a:2`."""
    found: list[Place] = []
    for word in text.split():
        calls, file, *stack = word.split(":")
        number = sum(place.made.calls == calls for place in found) + 1
        made = Made(calls, number, NAMES.get(calls, calls), (file,), creates=calls == "open", length=6)
        found.append(Place(made, file, stack="".join(stack)))
    return found


def test_each_class_has_faults_that_parse() -> None:
    """Every class of calls can fail, and each of its faults has a text."""
    assert VARIANTS.keys() == CLASSES.keys()
    for calls in CLASSES:
        faults = list(faults_at(places(f"{calls}:a")[0]))
        assert len(faults) == len(VARIANTS[calls])
        for fault in faults:
            for ending in ENDINGS:
                assert parse_id(scenario_id(fault, ending)) == (fault, ending)


def test_what_a_call_cannot_fail_with_is_left_out() -> None:
    """A write of one byte is not done in part, and to open what is there takes no room."""
    whole = Place(Made("write", 1, "write", ("a",)), "a")
    assert not any(fault.short for fault in faults_at(whole))
    there = Place(Made("open", 1, "openat", ("a",)), "a")
    assert {fault.error for fault in faults_at(there)} == {"EIO", "EROFS", "EINTR"}


@pytest.mark.parametrize(
    "text",
    ["", "io-error:", "io-error:write@1~EIO~once", "io-error:write@1~EIO~once~gone", "kill:write@1~EIO~once~killed"],
)
def test_what_is_not_an_id_is_refused(text: str) -> None:
    """The refusal shows how ids read."""
    with pytest.raises(UsageError, match="is not a scenario id; ids read io-error:"):
        parse_id(text)


WRITES = "open:a " + "write:a:1 " * 10 + "write:a:2 " * 10 + "fsync:a "


def test_a_budget_that_suffices_leaves_nothing_out() -> None:
    """All faults are kept in the order of calls, and no rule is stated."""
    found = places(WRITES)
    everything = [fault for place in found for fault in faults_at(place)]
    assert choose(found, len(everything), 0) == (everything, "")
    kept, rule = choose(found, len(everything) - 1, 0)
    assert len(kept) == len(everything) - 1
    assert "faults thinned to" in rule


def test_first_last_and_other_places_of_the_program_stay() -> None:
    """The first and the last call of a class are kept before a call from another place of the program, and that before others."""
    found = places(WRITES)
    ends = sum(len(list(faults_at(place))) for place in (found[0], found[1], found[20], found[21]))
    kept, _ = choose(found, ends, 0)
    assert {(fault.calls, fault.number) for fault in kept} == {("open", 1), ("write", 1), ("write", 20), ("fsync", 1)}
    kept, _ = choose(found, ends + len(VARIANTS["write"]), 0)
    assert {(fault.calls, fault.number) for fault in kept} >= {("write", 11)}


def test_calls_next_to_a_rotation_stay() -> None:
    """A call next to one that renames is kept before one that is not."""
    found = places(
        "write:a:1 " * 6 + "rename:a:1 " + "write:a:1 " * 6 + "rename:a:1 " + "write:a:1 " * 3 + "rename:a:1"
    )
    ends = 2 * len(VARIANTS["write"]) + 2 * len(VARIANTS["rename"])
    kept, _ = choose(found, ends + 12, 0)  # three plain errors of each of the four writes next to one
    others = {(fault.calls, fault.number) for fault in kept} - {
        ("write", 1),
        ("write", 15),
        ("rename", 1),
        ("rename", 3),
    }
    assert others <= {("write", 6), ("write", 7), ("write", 12), ("write", 13), ("rename", 2)}


def test_each_call_gets_one_error_before_another_gets_two() -> None:
    """As many calls as possible are tried, not all alike."""
    found = places(" ".join(f"write:a:{stack}" for stack in range(20)))
    kept, _ = choose(found, 2 * len(VARIANTS["write"]) + 18, 0)
    others = [fault for fault in kept if fault.number not in (1, 20)]
    assert [fault.number for fault in others] == list(range(2, 20))
    assert len({fault.error for fault in others}) > 1


def test_a_seed_draws_the_same_plan() -> None:
    """Two plans of one seed are equal, and another seed draws others."""
    found = places(WRITES)
    assert choose(found, 70, 1) == choose(found, 70, 1) != choose(found, 70, 2)


def test_a_small_budget_is_respected() -> None:
    """No more faults are tried than the budget allows, if it is small."""
    for budget in (1, 2, 10):
        assert len(choose(places(WRITES), budget, 0)[0]) == budget
    assert choose([], 5, 0) == ([], "")
    assert isinstance(choose(places("write:a"), 1, 0)[0][0], CallFault)
