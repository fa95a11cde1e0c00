"""Segments in arrow-rs's pieces, and arrow-rs's idea of where a stream ends."""

from __future__ import annotations

import pyarrow as pa
import pytest

from crashmatrix.scenarios.systems.modelardb.stream import END, SCHEMA, CutShort, NoSchema, Torn, message, pieces, read

BATCH = pa.RecordBatch.from_pylist([{"number": 1, "series": "a", "row": 0, "value": b"x" * 100}], schema=SCHEMA)
WHOLE = message(None) + message(BATCH) * 2


def test_pieces() -> None:
    """A record is five writes, a header four: marker, length, metadata, padding, body."""
    assert [b"".join(pieces(one)) for one in (message(None), message(BATCH))] == [message(None), message(BATCH)]
    assert [
        len(list(pieces(one))) in counts for one, counts in ((message(None), (3, 4)), (message(BATCH), (4, 5)))
    ] == [
        True,
        True,
    ]


@pytest.mark.parametrize("tail", [b"", b"\xff", b"\xff\xff\xff", bytes(4), END], ids=repr)
def test_ends(tail: bytes) -> None:
    """0 to 3 bytes, four zeros and the marker of the end are an end."""
    assert [batch.equals(BATCH) for batch in read(WHOLE + tail, checked=True)] == [True, True]


def test_a_cut_within_a_message() -> None:
    """A cut that leaves the marker, or more, is an error behind the batches before it; arrow itself agrees on what is whole."""
    last = len(message(BATCH))
    for length in range(4, last):
        found: list[pa.RecordBatch] = []
        with pytest.raises(CutShort):
            found.extend(read(WHOLE[: len(WHOLE) - last + length], checked=True))
        assert len(pa.ipc.open_stream(WHOLE).read_all().to_batches()) == 2
    with pytest.raises(NoSchema):
        list(read(b"", checked=True))


@pytest.mark.parametrize("checked", [True, False])
def test_a_message_that_is_there_in_part(checked: bool) -> None:
    """Zeros in place of any part are the end, or `Torn`: arrow has many errors. Only the checksum tells another batch."""
    last = len(WHOLE) - len(message(BATCH))
    ends = set()
    for begin in range(last, len(WHOLE), 4):
        for end in {begin + 4, begin + 64, len(WHOLE)}:
            torn = WHOLE[:begin] + bytes(min(end, len(WHOLE)) - begin) + WHOLE[end:]
            found: list[pa.RecordBatch] = []
            try:
                found.extend(read(torn, checked=checked))
                ends.add("none" if len(found) == 1 else "same" if found[1].equals(BATCH) else "other")
            except Torn:
                ends.add("torn")
            assert found[0].equals(BATCH)
    assert ends == {"none", "same", "torn", *([] if checked else ["other"])}
