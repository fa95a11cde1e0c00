"""The last record, damaged in every way: which damage is recognised, and which passes for a torn write."""

from __future__ import annotations

import random
from itertools import pairwise

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.log.segments.seal import SealForm
from crashmatrix.reference_wal.log.segments.segment import Damage, read_opening, read_records
from crashmatrix.reference_wal.log.segments.tear import proof_of_damage
from tests.reference_wal.support import encode, flipped

SECTOR_BYTES = 512
"""A disk's, whatever the engine takes it for."""
ZEROS = bytes(2 * SECTOR_BYTES)
DENSE = pa.schema([("x", pa.binary())])


def dense(size_bytes: int, *, zeros: int = 0) -> pa.RecordBatch:
    """A batch of random bytes, the first ``zeros`` of them 0; the end of its message is not zero either."""
    noise = random.Random(size_bytes).randbytes(size_bytes - zeros).replace(b"\0", b"\1")
    return pa.record_batch([pa.array([bytes(zeros) + noise], pa.binary())], schema=DENSE)


def damage_of(data: bytes) -> Damage | None:
    """Return where reading stops; everything before the last record must be there."""
    file = pa.BufferReader(data)
    opening = read_opening(file)
    assert opening is not None
    found = list(read_records(file, opening))
    damage = found.pop() if found and isinstance(found[-1], Damage) else None
    assert all(not isinstance(item, Damage) for item in found)
    return damage if isinstance(damage, Damage) else None


def pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """The record's part in each sector, as positions in the file."""
    cuts = [start, *range((start // SECTOR_BYTES + 1) * SECTOR_BYTES, stop, SECTOR_BYTES), stop]
    return list(pairwise(cuts))


def without(data: bytes, lost: list[tuple[int, int]]) -> bytes:
    for start, stop in lost:
        data = data[:start] + bytes(stop - start) + data[stop:]
    return data


SIZES = [8, 104, 128, 200, 1024]


@pytest.mark.lengthy
@pytest.mark.daily(1)
@pytest.mark.parametrize("size", SIZES)
def test_every_flipped_bit_is_damage(size: int) -> None:
    """Any bit of the last record, changed while all its sectors are there, is recognised as damage: wherever the record's
    beginning and end lie in their sectors, and in the seal as well as in the message.
    """
    data, bounds = encode([dense(size // 2), dense(size)], schema=DENSE)
    start, stop = bounds[-2:]
    assert all(any(data[a:b]) for a, b in pieces(start, stop)), "the case is about records without zero pieces"
    for position in range(start, stop):
        for bit in range(8):
            damage = damage_of(flipped(data, position, 1 << bit) + ZEROS)
            assert damage is not None, (position, bit)
            assert (damage.record, damage.offset) == (1, start)
            assert damage.proof is not None, (position, bit)


def test_damage_to_a_record_that_ends_with_a_sector() -> None:
    """The zeros behind it are none of its pieces."""
    for size in range(8, SECTOR_BYTES + 8, 8):
        data, bounds = encode([dense(size), dense(104)], schema=DENSE)
        start, stop = bounds[-2:]
        if stop % SECTOR_BYTES == 0:
            break
    assert stop % SECTOR_BYTES == 0
    for position in (start, stop - 60, stop - 1):
        damage = damage_of(flipped(data, position, 1) + ZEROS)
        assert damage is not None and damage.proof is not None, position


def test_damage_to_a_record_that_ends_with_the_file() -> None:
    """The file need not go on behind a record that is there to its last byte, nor behind a seal that is."""
    data, bounds = encode([dense(104), dense(300)], schema=DENSE)
    opening = read_opening(pa.BufferReader(data))
    assert opening is not None
    start, stop = bounds[-2:]
    seal = start + opening.form.size
    for end, places in ((stop, (start, seal, stop - 1)), (seal, (start, seal - 1))):
        for position in places:
            damage = damage_of(flipped(data[:end], position, 1))
            assert damage is not None and damage.proof is not None, (end, position)


@pytest.mark.parametrize("size", SIZES)
def test_a_piece_with_one_byte_left_is_there(size: int) -> None:
    """A disk writes a sector whole or not at all: zeros in all but the first or the last byte of one are damage."""
    data, bounds = encode([dense(size // 2), dense(size)], schema=DENSE)
    for start, stop in pieces(*bounds[-2:]):
        for left in (start, stop - 1):
            damage = damage_of(flipped(without(data, [(start, stop)]), left, 1) + ZEROS)
            assert damage is not None and damage.proof is not None, left


@pytest.mark.parametrize("place", [0, 1, SECTOR_BYTES // 2, SECTOR_BYTES - 2, SECTOR_BYTES - 1])
@pytest.mark.parametrize("shift", [0, 8, SECTOR_BYTES - 8])
def test_a_sector_of_a_seal_with_one_byte(place: int, shift: int) -> None:
    """A sector of a seal that has a single byte besides zeros is missed if it is lost; a sector of zeros is not."""
    ones, zeros = b"\1" * SECTOR_BYTES, bytes(SECTOR_BYTES)
    sparse = flipped(zeros, place, 1)
    form = SealForm((ones + sparse + ones + zeros + ones)[shift:], ones, salt=0)
    seal = form.write(0, shift, shift, b"")
    for number, torn in ((1, True), (3, False)):
        lost = (number * SECTOR_BYTES - shift, (number + 1) * SECTOR_BYTES - shift)
        left = flipped(without(seal, [lost]), len(seal) - 1, 2)
        assert (proof_of_damage(left + ZEROS, shift, form, 0) is None) == torn


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("zeros_after", [0, len(ZEROS)])
def test_every_torn_write_is_one(size: int, zeros_after: int) -> None:
    """A last record that lacks any of its sectors (zeros, or past the end) is torn: not damage, and not half a batch."""
    data, bounds = encode([dense(size // 2), dense(size)], schema=DENSE)
    start, stop = bounds[-2:]
    parts = pieces(start, stop)
    for kept in range(2 ** len(parts) - 1):
        torn = without(data, [part for number, part in enumerate(parts) if not kept >> number & 1])
        damage = damage_of(torn + bytes(zeros_after))
        assert (damage is None) == (not any(torn[start:])), bin(kept)
        assert damage is None or damage.proof is None, bin(kept)
    for begin, _ in parts:
        assert (damage := damage_of(data[:begin])) is None or damage.proof is None


def test_torn_groups() -> None:
    """If a group of three records lacks any sectors, the whole records before the first tear come back; the rest is torn."""
    rows = [dense(700), dense(300), dense(700)]
    data, bounds = encode(rows, schema=DENSE, grouped=True)
    parts = pieces(bounds[0], bounds[-1])
    for kept in range(2 ** len(parts)):
        torn = without(data, [part for number, part in enumerate(parts) if not kept >> number & 1])
        damage = damage_of(torn + ZEROS)
        assert damage is None or damage.proof is None, bin(kept)


def test_a_flip_in_a_group_is_damage() -> None:
    """A bit changed anywhere in the last group, all of whose sectors are there, is damage, though nothing came after it."""
    data, bounds = encode([dense(300), dense(200), dense(300)], schema=DENSE, grouped=True)
    for position in range(bounds[0], bounds[-1]):
        damage = damage_of(flipped(data, position, 1 << position % 8) + ZEROS)
        assert damage is not None and damage.proof is not None, position


def test_a_torn_record_after_it_proves_damage() -> None:
    """The seal of a later append, though that one is itself torn, shows that the record before it had been durable."""
    data, bounds = encode([dense(300), dense(900), dense(5000)], schema=DENSE)
    last = (bounds[2] // SECTOR_BYTES + 2) * SECTOR_BYTES  # the seal is there, most of its message is not
    lost = pieces(bounds[1], bounds[2])[1:2]
    damage = damage_of(without(data[:last], lost) + bytes(len(data) - last) + ZEROS)
    assert damage is not None and damage.record == 1
    assert damage.proof == "record 2 was written when this one had long been durable"


def test_limits() -> None:
    """The damage that passes for a torn write: a sector gone is one, whatever else is wrong; a flip in a message which
    has a zero sector of its own; the last record gone without a trace.
    """
    data, bounds = encode([dense(300), dense(2000)], schema=DENSE)
    start, stop = bounds[-2:]
    lost = pieces(start, stop)[2:3]
    both = damage_of(flipped(without(data, lost), start + 8) + ZEROS)
    assert both is not None and both.proof == "no sector of its seal is missing"  # the seal speaks for itself
    both = damage_of(flipped(without(data, lost), stop - 8) + ZEROS)
    assert both is not None and both.proof is None
    assert damage_of(data[:start] + ZEROS) is None

    data, bounds = encode([dense(300), dense(4000, zeros=2000)], schema=DENSE)
    flip = damage_of(flipped(data, bounds[-1] - 8) + ZEROS)
    assert flip is not None and flip.proof is None
    flip = damage_of(flipped(data, bounds[-2] + 8) + ZEROS)
    assert flip is not None and flip.proof is not None


def test_zeros_of_the_seal_are_no_excuse() -> None:
    """The seal of a wide table has whole sectors of zeros, by its form: a flip elsewhere in it is damage all the same."""
    rows = pa.record_batch([pa.array([1.5])] * 80, names=[f"c{number}" for number in range(80)])
    data, bounds = encode([rows, rows], schema=rows.schema)
    opening = read_opening(pa.BufferReader(data))
    assert opening is not None
    seal = (bounds[-2], bounds[-2] + opening.form.size)
    assert any(not any(data[start:stop]) for start, stop in pieces(*seal))
    for position in range(seal[0], seal[0] + 300, 7):
        damage = damage_of(flipped(data, position) + ZEROS)
        assert damage is not None and damage.proof == "no sector of its seal is missing", position
