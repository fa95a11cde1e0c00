"""Notes: each line is read as what it was written from, and a line that only resembles one is not taken for it."""

import pytest

from crashmatrix.scenarios.target.notes import (
    KILLED,
    RESUMED,
    AckNote,
    AnyNote,
    AttemptNote,
    FailNote,
    HitNote,
    OtherNote,
    RecoveredNote,
    TwiceNamed,
    acknowledgements,
    json_value,
    parse,
)


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (b"attempt 7", AttemptNote(b"7")),
        (b'attempt ["a b",1]', AttemptNote(b'["a b",1]')),
        (b"ack 7", AckNote(b"7")),
        (b"fail 7", FailNote(b"7")),
        (b"ack ", AckNote(b"")),
        (b"ack \xff", AckNote(b"\xff")),
        (b"recovered [1,2]", RecoveredNote(b"[1,2]")),
        (b"hit store.put.after_open 12", HitNote("store.put.after_open", 12)),
        (b"hit workload.killed 1", KILLED),
        (b"hit workload.resumed 1", RESUMED),
        (b"", OtherNote(b"")),
        (b"ack", OtherNote(b"ack")),
        (b"hit", OtherNote(b"hit")),
        (b"acked 7", OtherNote(b"acked 7")),
        (b" ack 7", OtherNote(b" ack 7")),
        (b"ACK 7", OtherNote(b"ACK 7")),
        (b"\xff 7", OtherNote(b"\xff 7")),
    ],
)
def test_a_line_and_its_note(line: bytes, note: AnyNote) -> None:
    """Parsing a line gives its note, and that note is written as the same bytes."""
    assert parse(line) == note
    assert note.encoded() == line


@pytest.mark.parametrize("line", [b"hit x", b"hit x y", b"hit ", b"hit 1 -2"])
def test_a_hit_without_a_number(line: bytes) -> None:
    """A line that a program has begun like a hit is still not a line of the journal."""
    note = parse(line)
    assert isinstance(note, HitNote)
    assert note.number == 0


def test_kinds_differ() -> None:
    """Notes of two kinds with the same content are not equal."""
    kinds: list[AnyNote] = [AttemptNote(b"1"), AckNote(b"1"), RecoveredNote(b"1"), OtherNote(b"1")]
    assert len(set(kinds)) == 4


def test_text_is_parsed_as_its_bytes() -> None:
    """Reports keep lines as text."""
    assert parse("ack é") == parse("ack é".encode()) == AckNote("é".encode())


def test_value_and_text() -> None:
    """The value is the JSON's; the text is the spelling in the line, also where it is not JSON."""
    assert AckNote(b'[1, "x"]').value() == [1, "x"]
    assert AckNote(b'[1, "x"]').text == '[1, "x"]'
    assert AckNote(b"\xff").text == "\ufffd"
    for wrong in (b"", b"{", b"\xff"):
        with pytest.raises(ValueError):
            AckNote(wrong).value()


def test_acknowledgements_have_line_numbers() -> None:
    """Lines are counted from 1, whatever stands in them."""
    lines = ["attempt 1", "ack 1", "attempt 2", "other", "ack 2", "acknowledged"]
    assert acknowledgements(lines) == [(2, AckNote(b"1")), (5, AckNote(b"2"))]


def test_an_object_has_each_name_once() -> None:
    """A text that two readers may take for two values is refused; other objects are read."""
    assert json_value('{"a":{"b":1},"b":[{"a":1}]}') == {"a": {"b": 1}, "b": [{"a": 1}]}
    with pytest.raises(TwiceNamed, match="an object has the name 'b' twice"):
        AckNote(b'[{"a":1,"b":2,"c":3,"b":2}]').value()
