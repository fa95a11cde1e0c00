"""One segment: what was written comes back, and damage never comes back as something else."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from reference_wal.segment import (
    Damage,
    Record,
    SegmentEncoder,
    SegmentHeader,
    SegmentName,
    map_file,
    read_header,
    read_records,
    scan,
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


def read(data: bytes) -> tuple[list[Record], Damage | None]:
    """Return the records before the damage, and the damage."""
    found = list(read_records(pa.py_buffer(data)))
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
    """Whatever the types, every batch comes back with its id, its place and its values."""
    data, bounds = encode(written, schema=written[0].schema, start=7)

    records, damage = read(data)
    summary = scan(pa.py_buffer(data))

    assert damage is None
    assert [record.id for record in records] == list(range(7, 7 + len(written)))
    assert [(record.offset, record.end) for record in records] == list(pairwise(bounds))
    assert all(record.batch.equals(expected) for record, expected in zip(records, written, strict=True))
    assert summary.header == SegmentHeader("log", "t", 7)
    assert summary.schema is not None and summary.schema.equals(written[0].schema)
    assert (summary.records, summary.good_bytes, summary.damage) == (len(written), len(data), None)


@pytest.mark.parametrize("written", CASES.values(), ids=CASES)
def test_any_arrow_reader_opens_it(written: list[pa.RecordBatch], tmp_path: Path) -> None:
    """A segment is an Arrow IPC stream: plain pyarrow reads all its rows, seals add none."""
    path = tmp_path / "0-.arrows"
    path.write_bytes(encode(written, schema=written[0].schema)[0])

    with path.open("rb") as file:
        table = pa.ipc.open_stream(file).read_all()

    assert table.to_pylist() == pa.Table.from_batches(written).to_pylist()


def test_schema_metadata_survives() -> None:
    """The table's schema comes back with its metadata and with what may not be null."""
    field = pa.field("x", pa.int64(), nullable=False, metadata={"unit": "m"})
    schema = pa.schema([field], metadata={"owner": "me"})
    data, _ = encode([], schema=schema)

    header = read_header(pa.py_buffer(data))

    assert header is not None and header[1].equals(schema, check_metadata=True)
    assert header[2] == len(data)


@pytest.mark.parametrize("case", ["numbers", "dictionary", "nested"])
def test_truncation_at_every_byte(case: str) -> None:
    """However much of the end is missing, exactly the records that are whole come back, and the rest is damage."""
    written = CASES[case]
    data, bounds = encode(written, schema=written[0].schema)

    for length in range(bounds[0], len(data)):
        records, damage = read(data[:length])
        assert len(records) == sum(end <= length for end in bounds[1:]), length
        assert_prefix(records, written)
        assert (damage is None) == (length in bounds), length
        if damage is not None:
            assert damage.sealed_after is None
            assert (damage.record, damage.offset) == (len(records), bounds[len(records)])


@pytest.mark.parametrize("case", ["numbers", "dictionary", "nested"])
def test_zeros_from_every_byte(case: str) -> None:
    """Zeros to the end, as a torn append leaves them, never read as rows nor as a clean end."""
    written = CASES[case]
    data, bounds = encode(written, schema=written[0].schema)

    for start in range(bounds[0], len(data)):
        records, damage = read(data[:start] + bytes(len(data) - start))
        zeroed = data[start : bounds[len(records) + 1]] if len(records) + 1 < len(bounds) else b""
        assert_prefix(records, written)
        if len(records) < len(written):
            assert any(zeroed) or start < bounds[len(records)]
            assert damage is not None and damage.sealed_after is None, start
        else:
            assert not any(data[start:]), start


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("case", ["numbers", "strings", "dictionary", "two dictionaries"])
def test_flip_in_a_middle_record(case: str, mask: int) -> None:
    """A changed byte never yields another batch; if the record is lost, the whole one after it is reported."""
    written = CASES[case] if len(CASES[case]) > 2 else [*CASES[case], CASES[case][0]]
    data, bounds = encode(written, schema=written[0].schema)

    lost = 0
    for position in range(bounds[1], bounds[2]):
        records, damage = read(flipped(data, position, mask))
        assert_prefix(records, written)
        assert (damage is None) == (len(records) == len(written)), position
        if damage is not None and damage.record == 1:
            assert damage.sealed_after == 2, position
            lost += 1
        if damage is not None:
            assert damage.sealed_after is not None or damage.record == len(written) - 1, position
    assert lost > (bounds[2] - bounds[1]) / 2


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("case", ["numbers", "strings", "dictionary", "two dictionaries"])
def test_flip_in_the_last_record(case: str, mask: int) -> None:
    """A changed byte in the last record never yields another batch, and looks like a torn append."""
    written = CASES[case]
    data, bounds = encode(written, schema=written[0].schema)

    lost = 0
    for position in range(bounds[-2], bounds[-1]):
        records, damage = read(flipped(data, position, mask))
        assert_prefix(records, written)
        assert len(records) >= len(written) - 1, position
        if damage is not None:
            assert damage.sealed_after is None
            lost += 1
        else:
            assert len(records) == len(written)
    assert lost > (bounds[-1] - bounds[-2]) / 2


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("schema", [SCHEMA, pa.schema([("d", DICTIONARY)], metadata={"k": "v"})], ids=["plain", "rich"])
def test_flip_in_the_header(schema: pa.Schema, mask: int) -> None:
    """A changed byte never makes another schema, log, table or first id."""
    data, _ = encode([], schema=schema)
    refused = 0
    for position in range(len(data)):
        found = read_header(pa.py_buffer(flipped(data, position, mask)))
        if found is None:
            refused += 1
        else:
            assert found[0] == SegmentHeader("log", "t", 0), position
            assert found[1].equals(schema, check_metadata=True), position
    assert refused > len(data) / 2


def test_header_cut_short() -> None:
    """A segment without a whole header has none, and no records; with zeros at its end, none or the right one."""
    data, _ = encode([])
    for length in range(len(data)):
        summary = scan(pa.py_buffer(data[:length]))
        assert summary.header is None and summary.schema is None, length
        assert summary.damage is not None and summary.damage.offset == 0
        assert (summary.records, summary.good_bytes) == (0, 0)
        zeroed = scan(pa.py_buffer(data[:length] + bytes(len(data) - length)))
        assert zeroed.records == 0
        assert zeroed.header in (None, SegmentHeader("log", "t", 0)), length


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
    """A record whose seal fits but whose id is out of turn is named as such."""
    encoder = SegmentEncoder(SCHEMA, SegmentHeader("log", "t", 0))
    data = encoder.header_bytes
    data += encoder.encode(0, THREE[0], len(data))
    data += encoder.encode(2, THREE[1], len(data))

    records, damage = read(data)

    assert [record.id for record in records] == [0]
    assert damage is not None and damage.problem == "record 2 stands where 1 is due"


def test_seal_with_rows_is_damage() -> None:
    """The seal that proves a record holds no rows of its own."""
    sink = pa.BufferOutputStream()
    data, bounds = encode([batch(1.0)])
    with pa.ipc.open_stream(pa.BufferReader(data)) as stream:
        copies = [stream.read_next_batch_with_custom_metadata() for _ in range(4)]
    with pa.ipc.new_stream(sink, SCHEMA) as writer:
        for number, copy in enumerate(copies):
            writer.write_batch(copy.batch if number < 3 else batch(9.0), custom_metadata=copy.custom_metadata)

    records, damage = read(sink.getvalue().to_pybytes())

    assert records == [] and damage is not None and damage.offset == bounds[0]


def test_text_that_looks_like_a_seal_proves_nothing() -> None:
    """A string in the user's data that reads like a seal does not turn a torn tail into corruption."""
    forged = batch(1.0, station="1:4000:10:00000000 9:9999999999999999999:9999999999999999999:deadbeef")
    data, bounds = encode([forged, batch(2.0)])

    _, damage = read(flipped(data[: bounds[1]], bounds[0] + 8))

    assert damage is not None and damage.sealed_after is None


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


@pytest.mark.parametrize("data", [b"", b"abc"])
def test_map_file(data: bytes, tmp_path: Path) -> None:
    """A mapped file shows its bytes, also if there are none."""
    path = tmp_path / "file"
    path.write_bytes(data)
    assert map_file(path).to_pybytes() == data
