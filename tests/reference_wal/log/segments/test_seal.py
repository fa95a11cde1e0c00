"""The seal: it is read back where it was written, and nowhere else; any changed bit shows."""

from __future__ import annotations

import pytest

from crashmatrix.reference_wal.log.segments.seal import BLANK, Seal, SealForm, checksum

FORM = SealForm(b"before ", b" after", salt=99)
MESSAGE = b"a message"
SEALS = [(0, 0, 0), (1, 512, 0), (2**63, 2**40, 2**40), (7, 10_000, 9_999)]


@pytest.mark.parametrize(("batch_id", "offset", "synced"), SEALS)
def test_round_trip(batch_id: int, offset: int, synced: int) -> None:
    """A seal says what was written, at its own offset only."""
    data = FORM.write(batch_id, offset, synced, MESSAGE)
    assert len(data) == FORM.size == len(FORM.filled)
    assert FORM.read(data, offset) == Seal(batch_id, offset, synced, len(MESSAGE), checksum(MESSAGE))
    assert FORM.read(data, offset + 1) is None


def test_every_flipped_bit_shows() -> None:
    """A seal with any one bit changed is not a seal."""
    data = FORM.write(3, 512, 100, MESSAGE)
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            assert FORM.read(bytes(changed), 512) is None, (position, bit)


@pytest.mark.parametrize("length", range(0, FORM.size, 7))
def test_cut_short(length: int) -> None:
    """Part of a seal is not a seal, nor is one with more behind it."""
    data = FORM.write(3, 512, 100, MESSAGE)
    assert FORM.read(data[:length], 512) is None
    assert FORM.read(data + b"x", 512) is None


def test_of_another_segment() -> None:
    """A seal of another segment, whose header has another checksum, is not a seal of this one."""
    other = SealForm(FORM.prefix, FORM.suffix, salt=100)
    assert FORM.read(other.write(3, 512, 100, MESSAGE), 512) is None


FORMS = {
    "blank": (b"x" + BLANK + b"yz", (b"x", b"yz")),
    "filled": (FORM.write(3, 512, 100, MESSAGE), (FORM.prefix, FORM.suffix)),
    "no text": (b"nothing here", None),
    "two texts": (BLANK + b" " + BLANK, None),
    "upper case": (BLANK.replace(b"0", b"A"), None),
}


@pytest.mark.parametrize(("message", "expected"), FORMS.values(), ids=FORMS)
def test_form(message: bytes, expected: tuple[bytes, bytes] | None) -> None:
    """The form is taken from any seal of the segment, and from nothing else."""
    form = SealForm.of(message, salt=5)
    assert (form and (form.prefix, form.suffix, form.salt)) == (expected and (*expected, 5))


@pytest.mark.parametrize("offsets", [[], [0], [0, 300], [40, 300, 600]])
def test_last_after(offsets: list[int]) -> None:
    """The last whole seal is found wherever it stands; one moved from another place is passed over."""
    begin, data = 4096, bytearray(1000)
    for number, offset in enumerate(offsets):
        data[offset : offset + FORM.size] = FORM.write(number, begin + offset, 0, MESSAGE)
    data[800 : 800 + FORM.size] = FORM.write(99, 0, 0, MESSAGE)
    found = FORM.last_after(bytes(data), begin)
    assert (found and found.offset) == (begin + offsets[-1] if offsets else None)
