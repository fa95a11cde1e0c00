"""A neighbour that fills the disk: the room that it leaves is the room that a program has, until the neighbour is gone."""

import json
import os
import signal
import subprocess
import time

import pytest

from crashmatrix.faults.disk import Machine, RecordOptions, record
from crashmatrix.faults.disk.recorder import CONTROL_NAME

pytestmark = pytest.mark.usefixtures("disk")

PIECE = 4096


def fill(machine: Machine) -> None:
    """Write until there is no room; note something else, then a failure, and write each time as much again."""
    with (machine.root / "file").open("wb", buffering=0) as file:
        machine.note(b"%d" % _written(file.write))
        machine.note(b"failure")
        machine.note(b"%d" % _written(file.write, 64))
        # Any program may write the line, in parts, and with another one behind it.
        subprocess.run(["sh", "-c", "printf fai; printf 'l:writer 1\\nmore\\n'"], check=True, stdout=machine.descriptor)
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
    """It gets an error after so many bytes, and can write again once the first attempt has failed, which its note waits for."""
    trace = record(fill, options=RecordOptions(room_bytes=room, room_until="fail"))
    full, failure, before, fail, more, again = trace.notes_before(len(trace.operations))
    assert abs(int(full) * PIECE - room) <= 2 * PIECE
    assert (failure, int(before), fail, more, int(again)) == (b"failure", 0, b"fail:writer 1", b"more", 64)


def test_the_neighbour_stays() -> None:
    """Without such a word, the disk stays full to the end of the workload, and has room once it is closed."""
    trace = record(fill, options=RecordOptions(room_bytes=0))
    assert [int(note) for note in trace.notes_before(len(trace.operations)) if note.isdigit()] == [0, 0, 0]


def test_who_waits_for_room_can_be_killed() -> None:
    """A process whose note waits for an answer that nobody gives dies when it is killed."""

    def waits(machine: Machine) -> None:
        control = machine.notes.with_name(CONTROL_NAME)
        os.write(os.open(control, os.O_WRONLY), b"hold fail")
        pid = os.fork()
        if not pid:
            machine.note(b"fail 1")
            os._exit(0)
        while not json.loads(control.read_bytes())["notes"]:  # A request that was not read yet would just be gone.
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        machine.note(b"%d" % os.waitpid(pid, 0)[1])

    trace = record(waits, options=RecordOptions(tolerant=True, time_limit_seconds=100))
    assert trace.notes_before(len(trace.operations)) == (b"fail 1", b"9")
