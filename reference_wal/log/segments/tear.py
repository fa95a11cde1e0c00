"""Torn write or damage? The evidence about a record at the end of a segment that does not read as it was written.

A power cut keeps, of the one group of records being written, any subset of its 512-byte sectors (a kill, a beginning cut at a
page). A sector that was not kept reads as it did before: as the zeros that the segment was filled with, or as the end of the
file. Sectors before the group are durable, and a sector shared with an older record holds either that record alone or both
whole. So:

    a torn write lacks at least one *piece*: a sector of the record, from the record's beginning on, is all zeros, or the file
    ends before the record does.

A record that does not fit its seal is therefore damaged, and no crash did it, if one of these holds:

    | evidence                                        | why                                                              |
    |-------------------------------------------------|------------------------------------------------------------------|
    | a later seal whose ``synced`` lies beyond it    | it had been durable before that seal was written                 |
    | the seal is whole and the id out of turn        | one leader gives out ids in order                                |
    | the seal is whole, the message is not, and      | a write whose every sector reached the disk is whole             |
    | no piece of the record is missing               |                                                                  |
    | the seal is not whole, no piece of it missing   | likewise                                                         |

These kinds of damage look like a torn write, and are dropped as one:
- damage to the last group that leaves a piece all zeros, or nothing of the record, or cuts the file: just what a tear does;
- any other damage to a record which also lacks a piece;
- a changed message that has an all-zero piece of its own (512 aligned bytes of zeros, or the last few): we cannot know that
  the batch had them. The zeros of a seal are known, so they excuse nothing.

The first row limits them to the last group. Recovery logs what it cuts off.
"""

from __future__ import annotations

from collections.abc import Iterator

from crashmatrix.reference_wal.log.segments.seal import SealForm

__all__ = ["SECTOR_BYTES", "is_zero", "proof_of_damage"]

SECTOR_BYTES = 512
"""A disk writes so many bytes whole or not at all; a larger sector counts as several that share their fate."""


def proof_of_damage(tail: bytes, offset: int, form: SealForm, expected_id: int) -> str | None:
    """Say why the record that was to begin at ``offset`` cannot be a torn write; None if it can.

    Args:
        tail: the file from ``offset`` to its end; more than zeros, and not a whole record with the id that is due.
    """
    later = form.last_after(tail, offset)
    if later is not None and later.synced > offset:
        return f"record {later.id} was written when this one had long been durable"
    seal = form.read(tail[: form.size], offset)
    if seal is None:
        return None if _lacks_a_piece(tail, offset, form, form.size) else "no sector of its seal is missing"
    if seal.id != expected_id:
        return f"its seal is whole and says {seal.id}"
    lacks = _lacks_a_piece(tail, offset, form, form.size + seal.length)
    return None if lacks else "none of its sectors is missing"


def is_zero(data: bytes | memoryview) -> bool:
    """Whether all bytes are zeros; true of no bytes."""
    return bytes(data) == bytes(len(data))


def _lacks_a_piece(tail: bytes, offset: int, form: SealForm, length: int) -> bool:
    if length > len(tail):
        return True
    meant = form.filled
    for start, stop in _pieces(offset, length):
        meant_zero = stop <= len(meant) and is_zero(meant[start:stop])
        if is_zero(tail[start:stop]) and not meant_zero:
            return True
    return False


def _pieces(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield, relative to the record's beginning, what of each sector of the record no older record has."""
    start = 0
    while start < length:
        stop = start + SECTOR_BYTES - (offset + start) % SECTOR_BYTES
        yield start, stop
        start = stop
