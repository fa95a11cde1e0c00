"""A neighbour that fills the disk: the room that it leaves is the room that a program has, until the neighbour is gone."""

import pytest

from crashmatrix.faults.disk import Machine, RecordOptions, record

pytestmark = pytest.mark.usefixtures("disk")

PIECE = 4096


def fill(machine: Machine) -> None:
    """Write until there is no room, have the neighbour leave, and write as much again."""
    with (machine.root / "file").open("wb", buffering=0) as file:
        machine.note(b"%d" % _written(file.write))
        assert machine.neighbour is not None
        machine.neighbour.leave()
        file.seek(0)
        machine.note(b"%d" % _written(file.write, 64))


def _written(write: object, most: int = 10**6) -> int:
    number = 0
    try:
        while number < most:
            number += write(b"x" * PIECE) // PIECE  # type: ignore[operator]
    except OSError:
        pass
    return number


@pytest.mark.parametrize("room", [0, 100 << 10])
def test_a_program_has_the_room_that_is_left(room: int) -> None:
    """It gets an error after so many bytes, and can write again once the neighbour is gone."""
    trace = record(fill, options=RecordOptions(room_bytes=room))
    full, again = map(int, trace.notes_before(len(trace.operations)))
    assert abs(full * PIECE - room) <= 2 * PIECE
    assert again == 64
