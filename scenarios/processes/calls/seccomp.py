"""Seccomp user notification: a process tree whose chosen system calls wait until another process has examined them.

A child installs a filter on itself and sends the filter's listener to the process that watches. Its own children inherit the
filter, and nothing removes it. Each chosen call then blocks before it does anything, until the listener continues it, answers
in the kernel's place, or is closed (every later one of these calls then fails with ENOSYS).

This needs no privilege, only Linux 5.5 or newer. From 5.19 on, only a fatal signal disturbs a thread whose call has been
received. Before 5.19, a thread that a signal interrupts (a stop, too) makes its call again afterwards. `Listener` recognises
such a call and does not report it twice, unless the signal came at the very moment of its answer.

Sources: seccomp_unotify(2), linux/seccomp.h, linux/filter.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

__all__ = ["ARCHITECTURES", "Call", "CallFilter", "Listener", "install", "lacking", "listener_from"]

ARCHITECTURES: Final = {"x86_64": (0xC000003E, 317), "aarch64": (0xC00000B7, 277)}
"""Machine to its number in linux/audit.h and the number of seccomp(2)."""

_SET_MODE_FILTER, _FLAG_NEW_LISTENER, _FLAG_WAIT_KILLABLE, _FLAG_CONTINUE = 1, 8, 32, 1
_HOLDS = b"holds"  # Sent with a listener whose received calls wait undisturbed.
_GET_NOTIF_SIZES = 3
_PR_SET_NO_NEW_PRIVS = 38
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = struct.Struct("<QIIiIQ6Q")
_RESPONSE = struct.Struct("<QqiI")

# linux/bpf_common.h: opcodes of classic BPF
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_X32 = 0x40000000  # asm/unistd.h: the bit that 32-bit pointers on x86-64 add to a call's number
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


@dataclass(frozen=True)
class CallFilter:
    """A system call to report.

    Attributes:
        bits: an argument, and the bits of which it must have one.
        values: an argument, and the values of which it must be one.
    """

    number: int
    bits: tuple[int, int] | None = None
    values: tuple[int, tuple[int, ...]] | None = None


@dataclass(frozen=True)
class Call:
    """A thread's call, not yet done. ``pid`` is the thread's. A ``foreign`` call has the numbers of another architecture."""

    id: int
    pid: int
    number: int
    place: int
    arguments: tuple[int, ...]
    foreign: bool = False


@cache
def lacking() -> str:
    """Return why this machine cannot watch system calls, with the remedy; empty if it can."""
    if platform.machine() not in ARCHITECTURES:
        return f"system calls are watched on {' and '.join(ARCHITECTURES)}, not on {platform.machine()}"
    _, seccomp = ARCHITECTURES[platform.machine()]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(seccomp, _GET_NOTIF_SIZES, 0, ctypes.create_string_buffer(6)) != 0:
        return (
            f"seccomp user notification is refused here ({os.strerror(ctypes.get_errno())}); it takes Linux 5.5 or newer, "
            f"and a container that allows seccomp(2)"
        )
    return ""


def install(filters: Sequence[CallFilter], to: socket.socket) -> None:
    """Have the calling thread, and all it starts from here on, wait at these calls; send the listener through ``to``.

    Raises OSError.
    """
    arch, seccomp = ARCHITECTURES[platform.machine()]
    program = _program(arch, filters)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:  # Without it, only root may install a filter.
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    for flags, said in ((_FLAG_NEW_LISTENER | _FLAG_WAIT_KILLABLE, _HOLDS), (_FLAG_NEW_LISTENER, b"listens")):
        listener = libc.syscall(seccomp, _SET_MODE_FILTER, flags, ctypes.byref(program))
        if listener >= 0:
            socket.send_fds(to, [said], [listener])  # sendmsg, which no filter of ours holds up
            os.close(listener)
            return
    raise OSError(ctypes.get_errno(), "seccomp(SECCOMP_SET_MODE_FILTER)")


def listener_from(ours: socket.socket) -> Listener | None:
    """Return the listener that a child has sent; None if it died before."""
    said, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
    return Listener(descriptors[0], holds=said == _HOLDS) if descriptors else None


def _program(arch: int, filters: Sequence[CallFilter]) -> _Program:
    code = [(_LOAD, 0, 0, _ARCH_AT), (_IF_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _NOTIFY), (_LOAD, 0, 0, _NUMBER_AT)]
    code += [(_IF_ANY_BIT, 0, 1, _X32), (_RETURN, 0, 0, _NOTIFY)]
    for wanted in filters:
        block = _conditions(wanted)
        code += [(_IF_EQUAL, 0, len(block), wanted.number), *block]
    code.append((_RETURN, 0, 0, _ALLOW))
    return _Program(len(code), (_Instruction * len(code))(*(_Instruction(*line) for line in code)))


def _conditions(wanted: CallFilter) -> list[tuple[int, int, int, int]]:
    """The instructions for a call once its number is known."""
    if wanted.bits is None and wanted.values is None:
        return [(_RETURN, 0, 0, _NOTIFY)]
    argument, test, against = 0, _IF_EQUAL, tuple[int, ...]()
    if wanted.bits is not None:
        argument, test, against = wanted.bits[0], _IF_ANY_BIT, (wanted.bits[1],)
    elif wanted.values is not None:
        argument, against = wanted.values
    tests = [(test, len(against) - at, 0, value) for at, value in enumerate(against)]
    return [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument), *tests, (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOTIFY)]


class Listener:
    """The watching end. Each call received is to be answered once."""

    def __init__(self, descriptor: int, *, holds: bool) -> None:
        self._descriptor = descriptor
        self._arch = ARCHITECTURES[platform.machine()][0]
        self.holds = holds
        """Whether a thread does nothing at all from when its call is received until that is answered."""
        self._interrupted: dict[tuple[int, ...], tuple[int, int, int]] = {}  # how each was answered, to no avail

    def fileno(self) -> int:
        """Readable while a call waits; hung up once nobody has the filter any more."""
        return self._descriptor

    def receive(self) -> Call | None:
        """Return the next waiting call; None if it was withdrawn, or is an interrupted one made anew."""
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self._descriptor, _RECEIVE, buffer, True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise
        id_, pid, _, number, arch, place, *arguments = _NOTIFICATION.unpack(buffer)
        foreign = arch != self._arch or (number > 0 and bool(number & _X32))
        call = Call(id_, pid, number, place, tuple(arguments), foreign)
        if (answer := self._interrupted.pop(_again(call), None)) is not None:
            self._answer(call, *answer)
            return None
        return call

    def let_go(self, call: Call) -> None:
        """Let the kernel do the call."""
        self._answer(call, 0, 0, _FLAG_CONTINUE)

    def answer(self, call: Call, value: int) -> None:
        """Have the call return a value, negative for an error number; the kernel does nothing."""
        self._answer(call, max(0, value), min(0, value), 0)

    def _answer(self, call: Call, value: int, error: int, flags: int) -> None:
        try:
            fcntl.ioctl(self._descriptor, _SEND, bytearray(_RESPONSE.pack(call.id, value, error, flags)), True)
        except OSError as problem:
            if problem.errno != errno.ENOENT:
                raise
            self._interrupted[_again(call)] = value, error, flags  # Or dead, and then it never comes.

    def close(self) -> None:
        """Stop watching: calls of processes that still have the filter fail."""
        os.close(self._descriptor)


def _again(call: Call) -> tuple[int, ...]:
    return (call.pid, call.number, call.place, *call.arguments)
