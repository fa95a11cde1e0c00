"""Choices: the sectors and changes that make a difference at a cut, and the state that their bits name."""

import pytest

from crashmatrix.faults.disk import Data, Flush, Note, Operation, Size, Trace, Write
from crashmatrix.faults.disk.enumeration.choices import Choices, Units, parts_of
from crashmatrix.faults.disk.enumeration.cuts import cuts_of
from crashmatrix.faults.disk.media import medium_of
from tests.faults.disk.block.support import image_of
from tests.faults.disk.support import synthetic_trace

HERE = 1 << 16
"""Where the base has zeros."""


def last_choices(trace: Trace, unit: int = 1, inert: frozenset[int] = frozenset()) -> Choices:
    """The choices at a trace's last cut."""
    cut = list(cuts_of(trace, 0, lambda _: True))[-1]
    digests = medium_of(trace.filesystem).digests(trace)
    return Choices(cut, trace.operations, digests.changed, Units(unit), inert)


def block(*changed: int, size: int = 16) -> bytes:
    """The content of some sectors, zeros but for the changed ones."""
    return b"".join(bytes([number % 255 + 1 if number in changed else 0]) * 512 for number in range(size))


@pytest.mark.parametrize(
    ("operations", "number"),
    [
        ([Write(HERE, block(2, 9))], 2),
        ([Write(HERE, block())], 0),
        ([Write(HERE, block(2, 9)), Write(HERE, block(2, 9))], 4),  # The second may be there without the first.
        ([Write(HERE, block(2, 9)), Flush(), Write(HERE, block(2, 9))], 0),
        ([Write(HERE, block(2, 9)), Flush(), Write(HERE, block(2))], 1),
        ([Write(HERE, block(2)), Write(HERE, block())], 2),  # As it was at first, but not if the first was there.
        ([Write(4096, b"b" * 8192)], 0),  # As the base has it.
        ([Note(b"x")], 0),
    ],
)
def test_only_what_may_differ_is_a_choice(operations: list[Operation], number: int) -> None:
    """A sector is a choice if its content differs from the durable one, or from one that an earlier pending write put there."""
    choices = last_choices(synthetic_trace(operations))
    assert choices.number == number
    assert len(set(map(choices.state, range(1 << number)))) == 1 << number


def test_a_state_is_named_by_what_is_missing() -> None:
    """Missing sectors in a row, with the unchanged ones between them, are one tear, at the earliest cut at which that can be."""
    trace = synthetic_trace([Write(HERE, block(2, 3, 9)), Write(HERE * 2, block(1)), Write(HERE, block(2, 3, 9))])
    choices = last_choices(trace)
    names = {bits: str(choices.state(bits)) for bits in range(1 << 3)}
    assert names == {
        0: "1-none",
        0b001: "2-all-t0.3+13",
        0b010: "2-all-t0.0+3-t0.9+7",
        0b011: "2-all-t0.9+7",
        0b100: "2-all-t0.0+4",
        0b101: "2-all-t0.3+1",
        0b110: "2-all-t0.0+3",
        0b111: "2-all",
    }
    assert str(choices.state(0b1000)) == "3-2"
    assert str(choices.state(choices.every)) == "4-all"


def test_what_makes_no_difference_is_there_with_what_comes_after_it() -> None:
    trace = synthetic_trace(
        [Write(HERE, block()), Write(HERE * 2, block(1)), Write(HERE, block()), Write(HERE * 3, block(1))]
    )
    choices = last_choices(trace)
    assert (choices.number, choices.idles) == (2, 2)
    assert [str(choices.state(bits)) for bits in range(4)] == ["1-none", "3-all", "5-d", "5-all"]
    assert str(choices.state(choices.every, idle=False)) == "5-a"


def test_what_no_recovery_sees_is_no_choice() -> None:
    trace = synthetic_trace([Write(HERE, block(1)), Write(HERE * 2, block(1))])
    assert last_choices(trace, inert=frozenset([2])).number == 1


@pytest.mark.parametrize(
    ("offset", "changed", "unit", "parts"),
    [
        (0, [2, 9], 1, ((2, 1), (9, 1))),
        (0, [2, 9], 8, ((0, 8), (8, 8))),
        (0, [9, 10], 8, ((8, 8),)),
        (512 * 6, [0, 1, 2, 15], 8, ((0, 2), (2, 8), (10, 6))),  # Units lie on the disk, not in the write.
    ],
)
def test_units_are_written_whole(
    offset: int, changed: list[int], unit: int, parts: tuple[tuple[int, int], ...]
) -> None:
    assert parts_of(Write(offset, bytes(512 * 16)), changed, Units(unit)) == parts


def test_sectors_that_are_written_together() -> None:
    """They lie on the disk, whichever write they are part of; others are single ones."""
    units = Units(together=range(2, 4))
    assert parts_of(Write(0, bytes(512 * 16)), [1, 2, 3, 4], units) == ((1, 1), (2, 2), (4, 1))
    assert parts_of(Write(0, bytes(512 * 16)), [3], units) == ((2, 2),)
    assert parts_of(Write(512 * 3, bytes(512 * 5)), [0, 1], units) == ((0, 1), (1, 1))
    assert parts_of(Write(512 * 8, bytes(512 * 8)), [2, 3], units) == ((2, 1), (3, 1))


def test_what_is_there_or_not_is_one_choice() -> None:
    assert parts_of(Size(3, 5), (), Units()) == ()
    assert parts_of(Data(3, 700, b"x" * 700), [0, 1], Units()) == ((0, 1), (1, 1))


def test_blocks_are_those_of_the_disk() -> None:
    trace = synthetic_trace([Write(HERE + 512 * 6, block(0, 1, 2, 15))])
    choices = last_choices(trace)
    assert choices.blocks(choices.changes[0]) == [0b0011, 0b0100, 0b1000]
    assert choices.sectors(choices.changes[0]) == [1, 2, 4, 8]


def test_each_combination_is_another_image() -> None:
    """Without overlaps, bits are images."""
    trace = synthetic_trace([Write(HERE, block(0, 3)), Write(HERE * 3, block(5)), Write(HERE * 2, block(1, 2))])
    choices = last_choices(trace)
    images = {image_of(trace, choices.state(bits)) for bits in range(1 << choices.number)}
    assert len(images) == 1 << choices.number == 32
