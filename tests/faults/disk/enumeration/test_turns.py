"""The order among cuts: sorts take turns by what can differ at them."""

import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from crashmatrix.faults.disk import CrashState, CrashStates, Flush, Note, Operation, Write
from crashmatrix.faults.disk.enumeration.choices import Choices
from crashmatrix.faults.disk.enumeration.turns import in_turns, ordered, sorts_of, weight_of
from tests.faults.disk.enumeration.test_choices import block
from tests.faults.disk.support import synthetic_trace


def endless(choices: Choices) -> Iterator[tuple[int, CrashState]]:
    while True:
        yield choices.cut.notes, CrashState(choices.cut.position, 0)


def none(_: Choices) -> Iterator[tuple[int, CrashState]]:
    return iter(())


def many_steps_and_one() -> CrashStates:
    """Forty small equal steps, and one that changes more, under other notes."""
    small: list[Operation] = [
        part for at in range(40) for part in (Note(b"hit small 1"), Write(512 * at, b"s" * 512), Flush())
    ]
    large: list[Operation] = [Note(b"hit large 1"), Write(1 << 18, block(*range(16))), Flush()]
    return CrashStates(synthetic_trace([*small, *large]), is_promise=lambda _: False)


def test_cuts_at_the_same_step_are_one_sort() -> None:
    assert sorted(len(sort) for sort in sorts_of(many_steps_and_one().choices)) == [1, 40]


def test_a_step_that_comes_often_does_not_crowd_out_another() -> None:
    """The large step, 1 of 41, gets its share of the turns from the start; what it has is not more than half."""
    states = many_steps_and_one()
    turns = islice(ordered(sorts_of(states.choices), [endless], none, random.Random(1)), 100)
    by_cut = Counter(state.cut for _, state in turns)
    assert 15 < by_cut[states.cuts[-1].position] < 50
    assert len(by_cut) == 41


def test_more_choices_weigh_more() -> None:
    weights = [weight_of(choices) for choices in many_steps_and_one().choices]
    assert weights[0] < weights[-1] < 4 * weights[0]


def test_in_turns() -> None:
    """A stream that is listed twice has two turns each time."""
    states = {letter: CrashState(number, 0) for number, letter in enumerate("abcxyz")}
    several, few = ([(0, states[letter]) for letter in letters] for letters in ("abcx", "yz"))
    shared = iter(several)
    letters = {state: letter for letter, state in states.items()}
    assert "".join(letters[state] for _, state in in_turns([shared, iter(few), shared])) == "aybczx"
