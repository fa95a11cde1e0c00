"""The order of one cut's states: which come, and that boundaries come first."""

import random
from itertools import islice

from crashmatrix.faults.disk import Data, Flush, Note, Size, Write
from crashmatrix.faults.disk.enumeration import shapes
from crashmatrix.faults.disk.enumeration.choices import Choices
from crashmatrix.faults.disk.trace.operations import ROOT, Node
from tests.faults.disk.enumeration.test_choices import HERE, block, last_choices
from tests.faults.disk.posix.support import FILE, A, B, made_up, name
from tests.faults.disk.support import synthetic_trace

CHANCE = random.Random(1)


def one_write(*changed: int, size: int = 64) -> Choices:
    return last_choices(synthetic_trace([Write(HERE, block(*changed, size=size))]))


def test_ends() -> None:
    choices = one_write(1, 2)
    assert list(shapes.ends(choices, CHANCE)) == [0, 0b11]


def test_right_after_a_promise() -> None:
    """Nothing is there, or everything that came before the promise; at a cut that follows none, there is no such state."""
    writes = [Write(HERE * (number + 1), block(1)) for number in range(3)]
    after, before = (
        synthetic_trace([*writes[:2], Note(b"ack"), writes[2]]),
        synthetic_trace([Note(b"ack"), Flush(), *writes]),
    )
    assert set(shapes.promised(last_choices(after), CHANCE)) == {0, 0b011}
    assert list(shapes.promised(last_choices(before), CHANCE)) == []


def test_singles() -> None:
    """Each change missing, each alone, each prefix, each suffix; and a torn one is none of these."""
    trace = synthetic_trace([Write(HERE * (number + 1), block(1, 2)) for number in range(3)])
    found = set(shapes.singles(last_choices(trace), CHANCE))
    a, b, c = 0b000011, 0b001100, 0b110000
    assert found == {a, b, c, a | b, b | c, a | c}


def test_the_older_file_is_lost_and_the_younger_kept() -> None:
    """On a tree, all changes to one file are missing, or alone."""
    trace = made_up(
        *(Node(A, FILE), Node(B, FILE), name(ROOT, b"a", A), name(ROOT, b"b", B)),
        *(Size(A, 1), Data(A, 0, b"1"), Size(B, 1), Data(B, 0, b"1")),
    )
    choices = last_choices(trace)
    found = set(shapes.singles(choices, CHANCE))
    older, younger = 0b001100, 0b110000
    assert {older, younger, choices.every ^ older, choices.every ^ younger} <= found


def test_boundaries_of_a_torn_write_come_first_and_those_of_blocks_before() -> None:
    """After the first changed block, before the last, the halves; then the same of sectors."""
    choices = one_write(1, 2, 17, 40)
    found = list(shapes.torn(choices, CHANCE, 100))
    assert found[:2] == [0b0011, 0b0111]
    sectors = [bits for bits in found if bits not in (0b0011, 0b0100, 0b0111, 0b1000, 0b1011, 0b1100)]
    assert sectors[:2] == [0b0001, 0b1110]
    every = set(range(1, 15))
    assert {0b1110, 0b1101, 0b1011, 0b0111, 1, 2, 4, 8, 0b0011} <= set(found) <= every


def test_a_torn_write_stands_among_others_three_ways() -> None:
    """The changes after it are missing; everything else is there; nothing else is."""
    writes = [Write(HERE * (number + 1), block(*([1, 2] if number == 1 else [1]))) for number in range(3)]
    choices = last_choices(synthetic_trace(writes))
    found = set(shapes.torn(choices, CHANCE, 100))
    assert found == {0b0011, 0b0101, 0b1011, 0b1101, 0b0010, 0b0100}


def test_each_torn_write_has_its_turn_and_its_bound() -> None:
    trace = synthetic_trace([Write(1 << 17, block(*range(16))), Write(1 << 18, block(*range(16)))])
    choices = last_choices(trace)
    found = list(shapes.torn(choices, CHANCE, 20))
    assert len(found) == 40
    low = (1 << 16) - 1
    first_torn = [0 < bits & low < low for bits in found]
    assert first_torn[0] != first_torn[1]


def test_subsets_tear_in_runs() -> None:
    """Drawn subsets miss a change, or a run of it, so that their names stay short."""
    trace = synthetic_trace([Write(1 << 17, block(*range(64), size=64)), Write(1 << 18, block(1))])
    choices = last_choices(trace)
    drawn = list(shapes.subsets(choices, CHANCE, 60))
    assert len(drawn) == 60
    assert all(len(choices.state(bits).tears) <= 2 for bits in drawn)
    assert any(choices.state(bits).tears for bits in drawn)


def test_rest() -> None:
    assert sorted(shapes.rest(one_write(1, 5, 9), CHANCE)) == list(range(8))


def test_the_few_sectors_of_a_large_block_are_tried_at_once() -> None:
    """Two neighbouring sectors of 1 MiB differ: the tears between them are the first two states."""
    choices = one_write(1200, 1201, size=2048)
    assert set(islice(shapes.torn(choices, CHANCE, 10), 2)) == {0b01, 0b10}
