"""The first process of a cell: it sets up the cell, watches each job's use of memory, and ends whatever the job leaves."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from crashmatrix.faults.disk import die_with_parent
from crashmatrix.scenarios.processes.sandbox import calls
from crashmatrix.scenarios.processes.sandbox.limits import breach
from crashmatrix.scenarios.processes.sandbox.view import show_machine

__all__ = ["BEGUN", "ENDED", "NUMBER_BYTES", "READY", "close_all_but", "guard", "number_in", "numbered"]

BEGUN: Final = b"b"
"""A message to init: a job has begun."""

ENDED: Final = b"e"
"""A message to init: the job has ended; end what it has left."""

READY: Final = b"ready"
"""Init's answer: the cell is empty; followed by the limit that the job broke, if any."""

NUMBER_BYTES: Final = 2
"""How many bytes the number of a cell takes in a message."""

_LOOK_SECONDS = 0.2
_POLL_SECONDS = 0.0001
_FIRST_NUMBER, _NUMBERS_EACH, _NUMBERED = 300, 4000, 8
_NUMBERS = Path("/proc/sys/kernel/ns_last_pid")
_CLOSED_PORTS = Path("/proc/sys/net/ipv4/tcp_max_tw_buckets")
"""How many ports stay in use for a minute after their process has ended: none, as the next job has nothing to do with it."""


def guard(control: socket.socket, number: int, freed: int) -> NoReturn:
    """Be init, for the process that has the other end of ``control``, to its end. The arguments are those of `Cell.made`."""
    try:
        die_with_parent(0)  # A parent outside the namespace has no number in it.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # The kernel then reaps every orphan.
        with contextlib.suppress(OSError):  # To end a job that starts processes without end, it needs its turn.
            os.setpriority(os.PRIO_PROCESS, 0, -20)
        close_all_but({0, 1, 2, control.fileno(), freed})
        try:
            _set_up(number)
        except OSError as error:
            control.send((error.strerror or str(error)).encode())
            os._exit(1)
        control.send(READY)
        for _ in _jobs(control):
            if freed >= 0:
                os.write(freed, numbered(number))
    finally:
        os._exit(1)


def numbered(number: int) -> bytes:
    """Return the message with a cell's number. Raises OverflowError: there are 65,536 numbers."""
    return number.to_bytes(NUMBER_BYTES)


def number_in(message: bytes) -> int:
    """Return the number that `numbered` has put into a message."""
    return int.from_bytes(message)


def close_all_but(kept: set[int]) -> None:
    """Close what this process inherited: files of jobs, whose end somebody waits for."""
    below = 0
    for descriptor in sorted(kept - {-1}):
        if descriptor > below:  # An empty range from 0 is every file.
            os.closerange(below, descriptor)
        below = descriptor + 1
    os.closerange(below, os.sysconf("SC_OPEN_MAX"))


def _set_up(number: int) -> None:
    calls.leave_namespaces(calls.MOUNTS | calls.NETWORK)
    for setting, value in ((_NUMBERS, _FIRST_NUMBER + number % _NUMBERED * _NUMBERS_EACH), (_CLOSED_PORTS, 0)):
        with contextlib.suppress(OSError):  # A kernel may lack it.
            setting.write_text(str(value))
    show_machine()
    calls.start_loopback()


def _jobs(control: socket.socket) -> Iterator[None]:
    """Watch over one job after the other, until nobody is there to send another; yields after each."""
    busy, broken = False, ""
    while True:
        if not select.select([control], [], [], _LOOK_SECONDS if busy and not broken else None)[0]:
            if broken := breach():
                _kill_all()
            continue
        message = control.recv(len(ENDED))
        if message == BEGUN:
            busy = True
            continue
        if not message:
            return
        while _kill_all():
            time.sleep(_POLL_SECONDS)
        control.send(READY + broken.encode())
        yield
        busy, broken = False, ""


def _kill_all() -> bool:
    """SIGKILL every process of this namespace but this one; returns whether there was one."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
