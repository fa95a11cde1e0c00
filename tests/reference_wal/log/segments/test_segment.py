"""A segment returns what was written, and never returns damage as something else."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.log.segments.segment import (
    Codec,
    Damage,
    Opening,
    Record,
    Scan,
    SegmentHeader,
    SegmentName,
    read_opening,
    read_records,
    scan as scan_file,
)
from tests.reference_wal.support import SCHEMA, batch, encode, flipped


def rows(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


DICTIONARY = pa.dictionary(pa.int32(), pa.string())
CASES = {
    "numbers": [rows({"x": pa.array([1, 2, 3])}), rows({"x": pa.array([4])})],
    "nulls": [rows({"x": pa.array([1, None]), "y": pa.array([None, None], pa.float64())})] * 2,
    "strings": [rows({"s": pa.array(["a", "", None, "\N{SNOWMAN}" * 9])}), rows({"s": pa.array(["", ""])})],
    "dictionary": [
        rows({"d": pa.array(["a", "b", None], DICTIONARY)}),
        rows({"d": pa.array(["b", "b", "a"], DICTIONARY)}),
        rows({"d": pa.array([None], DICTIONARY)}),
        rows({"d": pa.array(["b", "b", "a"], DICTIONARY)}),
    ],
    "two dictionaries": [
        rows({"d": pa.array([x], DICTIONARY), "e": pa.array([y], DICTIONARY)}) for x, y in ("ab", "ba", "aa")
    ],
    "nested": [rows({"n": pa.array([[[1, None], []], None, [[2]]])}), rows({"n": pa.array([[[3]], [None]])})],
    "no rows": [batch(), batch(1.0), batch()],
    "no columns' values": [rows({"z": pa.nulls(3)}), rows({"z": pa.nulls(0)})],
    "booleans": [rows({"b": pa.array([True, None, False])}), rows({"b": pa.array([False])})],
}
THREE = [batch(1.0, 2.0), batch(3.0, station=""), batch(4.0, 5.0, 6.0, station=None)]


def scan(data: bytes) -> Scan:
    return scan_file(pa.BufferReader(data))


def read_header(data: bytes) -> Opening | None:
    return read_opening(pa.BufferReader(data))


def read(data: bytes) -> tuple[list[Record], Damage | None]:
    """Return the records before the damage, and the damage."""
    opening = read_header(data)
    assert opening is not None
    found = list(read_records(pa.BufferReader(data), opening))
    damage = found.pop() if found and isinstance(found[-1], Damage) else None
    records = [item for item in found if isinstance(item, Record)]
    assert len(records) == len(found)
    return records, damage if isinstance(damage, Damage) else None


def assert_prefix(records: list[Record], written: list[pa.RecordBatch]) -> None:
    assert [record.id for record in records] == list(range(len(records)))
    assert len(records) <= len(written)
    for record, expected in zip(records, written, strict=False):
        record.batch.validate(full=True)
        assert record.batch.equals(expected)


@pytest.mark.parametrize("written", CASES.values(), ids=CASES)
def test_round_trip(written: list[pa.RecordBatch]) -> None:
    """A batch of any types comes back with its id, its place and its values."""
    data, bounds = encode(written, schema=written[0].schema, start=7)

    records, damage = read(data)
    summary = scan(data)

    assert damage is None
    assert [record.id for record in records] == list(range(7, 7 + len(written)))
    assert [(record.offset, record.end) for record in records] == list(pairwise(bounds))
    assert all(record.batch.equals(expected) for record, expected in zip(records, written, strict=True))
    assert summary.opening is not None
    assert summary.opening.header == SegmentHeader("log", "t", 7)
    assert summary.opening.schema.equals(written[0].schema)
    assert (summary.records, summary.good_bytes, summary.damage) == (len(written), len(data), None)
    assert (summary.size_bytes, scan(data + bytes(99)).size_bytes) == (len(data), len(data) + 99)


@pytest.mark.parametrize("written", CASES.values(), ids=CASES)
def test_any_arrow_reader_opens_it(written: list[pa.RecordBatch], tmp_path: Path) -> None:
    """A segment is an Arrow IPC stream: plain pyarrow reads all its rows, seals add none."""
    path = tmp_path / "0-.arrows"
    path.write_bytes(encode(written, schema=written[0].schema)[0])

    with path.open("rb") as file:
        table = pa.ipc.open_stream(file).read_all()

    assert table.to_pylist() == pa.Table.from_batches(written).to_pylist()


@pytest.mark.parametrize("start", [0, 7])
def test_the_header_has_a_seal(start: int) -> None:
    """It has the segment's first id, stands for the file's beginning, and says that nothing was durable before."""
    data, bounds = encode([], start=start)
    opening = read_opening(pa.BufferReader(data))
    assert opening is not None and bounds == [len(data)]
    form = replace(opening.form, salt=0)
    seal = form.read(data[-form.size :], 0)
    assert seal is not None
    assert (seal.id, seal.offset, seal.synced, seal.length) == (start, 0, 0, len(data))
    assert seal.checksum == opening.form.salt


def test_schema_metadata_survives() -> None:
    """The table's schema comes back with its metadata and with what may not be null."""
    field = pa.field("x", pa.int64(), nullable=False, metadata={"unit": "m"})
    schema = pa.schema([field], metadata={"owner": "me"})
    data, _ = encode([], schema=schema)

    header = read_header(data)

    assert header is not None and header.schema.equals(schema, check_metadata=True)
    assert header.size_bytes == len(data)


@pytest.mark.lengthy
@pytest.mark.parametrize("case", ["numbers", "dictionary", "nested"])
def test_truncation_at_every_byte(case: str) -> None:
    """A segment cut anywhere returns exactly its whole records; the rest is damage."""
    written = CASES[case]
    data, bounds = encode(written, schema=written[0].schema)

    for length in range(bounds[0], len(data)):
        records, damage = read(data[:length])
        assert len(records) == sum(end <= length for end in bounds[1:]), length
        assert_prefix(records, written)
        assert (damage is None) == (length in bounds), length
        if damage is not None:
            assert damage.proof is None
            assert (damage.record, damage.offset) == (len(records), bounds[len(records)])


@pytest.mark.lengthy
@pytest.mark.parametrize("case", ["numbers", "dictionary", "nested"])
def test_zeros_from_every_byte(case: str) -> None:
    """Zeros to the end never read as rows, and as a clean end only from a record's beginning on."""
    written = CASES[case]
    data, bounds = encode(written, schema=written[0].schema)

    for start in range(bounds[0], len(data)):
        records, damage = read(data[:start] + bytes(len(data) - start))
        whole = sum(not any(data[max(start, begin) : end]) or end <= start for begin, end in pairwise(bounds))
        assert_prefix(records, written)
        assert len(records) == whole, start
        nothing_left = whole == len(written) or not any(data[bounds[whole] : start])
        assert (damage is None) == nothing_left, start


@pytest.mark.daily(4)
@pytest.mark.lengthy
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("case", ["numbers", "strings", "dictionary", "two dictionaries"])
def test_flip_in_a_middle_record(case: str, mask: int) -> None:
    """Every changed byte shows, never yields another batch, and is proven by the record after it."""
    written = CASES[case] if len(CASES[case]) > 2 else [*CASES[case], CASES[case][0]]
    data, bounds = encode(written, schema=written[0].schema)

    for position in range(bounds[1], bounds[2]):
        records, damage = read(flipped(data, position, mask))
        assert len(records) == 1, position
        assert_prefix(records, written)
        assert damage is not None and damage.proof is not None, position
        assert damage.proof.endswith("was written when this one had long been durable"), position


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("schema", [SCHEMA, pa.schema([("d", DICTIONARY)], metadata={"k": "v"})], ids=["plain", "rich"])
def test_flip_in_the_header(schema: pa.Schema, mask: int) -> None:
    """A changed byte never makes another schema, log, table or first id."""
    data, _ = encode([], schema=schema)
    refused = 0
    for position in range(len(data)):
        found = read_header(flipped(data, position, mask))
        if found is None:
            refused += 1
        else:
            raise AssertionError(f"a changed byte went unnoticed: {position}")
    assert refused == len(data)


def test_header_cut_short() -> None:
    """A segment without a whole header has none, and no records; with zeros at its end, none or the right one."""
    data, _ = encode([])
    for length in range(len(data)):
        summary = scan(data[:length])
        assert summary.opening is None, length
        assert summary.damage is not None and summary.damage.offset == 0
        assert (summary.records, summary.good_bytes, summary.size_bytes) == (0, 0, length)
        zeroed = scan(data[:length] + bytes(len(data) - length))
        assert zeroed.records == 0
        assert zeroed.opening is None or not any(data[length:]), length


def test_record_in_another_place_is_damage() -> None:
    """A whole record copied to another offset, or out of turn, is not taken for one."""
    data, bounds = encode(THREE)
    header, first, second = data[: bounds[0]], data[bounds[0] : bounds[1]], data[bounds[1] : bounds[2]]
    twice = header + first + first
    swapped = header + second + first

    for damaged, whole in ((twice, 1), (swapped, 0), (header + second, 0)):
        records, damage = read(damaged)
        assert_prefix(records, THREE)
        assert len(records) == whole and damage is not None


def test_record_with_another_id_is_damage() -> None:
    """A record whose seal fits but whose id is out of turn is named as such; no crash leaves it."""
    data, bounds = encode(THREE)
    opening, message = read_header(data), Codec(SCHEMA).encode(THREE[1])
    assert opening is not None
    data = data[: bounds[1]] + opening.form.write(2, bounds[1], bounds[1], message) + memoryview(message)

    records, damage = read(data)

    assert [record.id for record in records] == [0]
    assert damage is not None and damage.problem == "record 2 stands where 1 is due"
    assert damage.proof == "its seal is whole and says 2"


def test_a_record_of_another_log_is_damage() -> None:
    """A record that an older log of the same table left in the same place of the disk is not taken for one of this log."""
    (mine, bounds), (old, _) = encode(THREE), encode(THREE, identity="old")
    records, damage = read(mine[: bounds[1]] + old[bounds[1] :])
    assert [record.id for record in records] == [0]
    assert damage is not None


def test_text_that_looks_like_a_seal_proves_nothing() -> None:
    """A seal that a user stored as data, even one of this very log, does not turn a torn tail into corruption."""
    data, bounds = encode([batch(1.0), batch(2.0), batch(3.0)])
    forged = batch(1.0, station=data[bounds[2] :].decode("latin-1"))
    data, bounds = encode([forged, batch(2.0)])

    sector = bounds[1] // 512 * 512
    _, damage = read(data[:sector] + bytes(4096))

    assert damage is not None and damage.proof is None


NAMES = [
    ("0-.arrows", SegmentName(0)),
    ("7-.arrows", SegmentName(7)),
    ("0-0.arrows", SegmentName(0, 0)),
    ("12-340.arrows", SegmentName(12, 340)),
]


@pytest.mark.parametrize(("text", "name"), NAMES, ids=[text for text, _ in NAMES])
def test_names_parse_and_print(text: str, name: SegmentName) -> None:
    """A name says the first id and, once closed, the last; printing gives what was parsed."""
    assert SegmentName.parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    ["", "0.arrows", "-5.arrows", "-.arrows", "a-b.arrows", "0-.tmp", "0-.arrows.bak", "x0-.arrows", "0-1-2.arrows"],
)
def test_other_names_are_no_segments(text: str) -> None:
    """Any other file name is not taken for a segment's."""
    assert SegmentName.parse(text) is None
