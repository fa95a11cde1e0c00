"""A process held by ptrace(2): stopped, stepped by one instruction, made to call the kernel. x86-64 only.

The process is an ancestor's business: it must be below the one that calls, which is what Yama allows everywhere.
It stays traced until it ends, `release` or our own end; if we die, the kernel kills it.

Source: ptrace(2), arch/x86/include/uapi/asm/ptrace-abi.h.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from dataclasses import dataclass
from typing import Final

__all__ = ["Registers", "Stop", "Traced", "untraceable"]

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_CONT_TO_CALL, _STEP, _GET_REGISTERS, _SET_REGISTERS = 24, 9, 12, 13
_GET_SIGNAL, _GET_CALL = 0x4202, 0x420E
_OPTIONS = 0x1 | 0x10 | 0x100000  # TRACESYSGOOD, TRACEEXEC, EXITKILL
_WALL = 0x40000000
_EVENT_EXEC, _EVENT_STOP = 4, 128
_CALL_STOP = signal.SIGTRAP | 0x80
_ENTERED, _LEFT = 1, 2
_GETPID = 39
_SYSCALL: Final = b"\x0f\x05"
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_LIBC.ptrace.restype = ctypes.c_long


_NAMES = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs"


class Registers(ctypes.Structure):
    """struct user_regs_struct."""

    _fields_ = tuple((name, ctypes.c_ulonglong) for name in _NAMES.split())


@dataclass(frozen=True)
class Stop:
    """Why a process stands still.

    Attributes:
        why: ``enters`` or ``leaves`` a system call, ``signal``, ``exec``, ``other``; ``gone`` if it has ended.
        number: of the system call it enters, or of the signal.
        arguments: of the call it enters.
        value: that the call returns.
    """

    why: str
    number: int = 0
    arguments: tuple[int, ...] = ()
    value: int = 0


def untraceable() -> str:
    """Return why processes cannot be traced on this machine; empty if they can."""
    return "" if platform.machine() == "x86_64" else f"stores are stopped before on x86_64, not on {platform.machine()}"


class Traced:
    """One process of one thread. Its calls, signals and steps stop it; `wait` says at which, and `resume` lets it go on."""

    def __init__(self, pid: int) -> None:
        """Raises OSError if it may not be traced."""
        self.pid = pid
        self._syscall_at = 0
        self._put_off: list[int] = []
        self._ask(_SEIZE, 0, _OPTIONS)

    def interrupt(self) -> None:
        """Have it stop at the next moment at which it can."""
        self._ask(_INTERRUPT)

    def wait(self, *, block: bool = True) -> Stop | None:
        """Wait for a stop; without ``block``, return None if there is none yet."""
        try:
            pid, status = os.waitpid(self.pid, _WALL | (0 if block else os.WNOHANG))
        except ChildProcessError:
            return Stop("gone")
        if pid == 0:
            return None
        if not os.WIFSTOPPED(status):
            return Stop("gone")
        event, number = status >> 16, os.WSTOPSIG(status)
        if event:
            return Stop("exec" if event == _EVENT_EXEC else "other")
        return self._call() if number == _CALL_STOP else Stop("signal", number)

    def resume(self, number: int = 0) -> None:
        """Let it go on to its next call or signal, with a signal delivered."""
        if self._put_off and not number:
            number = self._put_off.pop(0)
        self._ask(_CONT_TO_CALL, 0, number)

    def release(self) -> None:
        """Let go of it; it must have stopped."""
        self._ask(_DETACH)

    def fault(self) -> tuple[int, int]:
        """Return code and address of the signal that it stopped at."""
        information = ctypes.create_string_buffer(128)
        self._ask(_GET_SIGNAL, 0, ctypes.addressof(information))
        code, address = struct.unpack_from("<8xi4xQ", information)
        return code, address

    def step(self) -> Stop:
        """Have it execute one instruction; returns the stop after it. Other signals are put off."""
        while True:
            self._ask(_STEP)
            stop = self.wait()
            assert stop is not None
            if stop.why != "signal" or stop.number in (signal.SIGTRAP, signal.SIGSEGV):
                return stop
            if stop.number != signal.SIGSTOP:
                self._put_off.append(stop.number)

    def learn_to_call(self) -> bool:
        """Find the instruction by which it can be made to call; it has stopped right behind one. Returns whether it was found."""
        at = self.registers().rip - len(_SYSCALL)
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(at)
            self._syscall_at = at if memory.read(len(_SYSCALL)) == _SYSCALL else 0
        return bool(self._syscall_at)

    def call(self, number: int, *arguments: int) -> int:
        """Have it make a system call, and be as it was before; returns what the call returned."""
        before = self.registers()
        made = self.registers()
        names = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
        values = dict(zip(names, arguments, strict=False))
        for name, value in {**values, "rax": number, "orig_rax": -1, "rip": self._syscall_at}.items():
            setattr(made, name, value & (2**64 - 1))
        self.set_registers(made)
        if self.step().why == "gone":
            return -1
        value = self.registers().rax
        self.set_registers(before)
        return int(value - 2**64 if value >> 63 else value)

    def again(self, number: int) -> None:
        """Have it make the call that it is leaving once more."""
        registers = self.registers()
        registers.rax, registers.rip = number, registers.rip - len(_SYSCALL)
        registers.orig_rax = 2**64 - 1  # else the kernel might restart it, too
        self.set_registers(registers)

    def put_off(self, number: int) -> None:
        """Have it not make the call that it enters yet: it stands before the call again, and can be made to `call` others."""
        before = self.registers()
        instead = self.registers()
        instead.orig_rax = _GETPID
        self.set_registers(instead)
        self.step()
        self.set_registers(before)
        self.again(number)

    def registers(self) -> Registers:
        """Read its registers."""
        registers = Registers()
        self._ask(_GET_REGISTERS, 0, ctypes.addressof(registers))
        return registers

    def set_registers(self, registers: Registers) -> None:
        """Write them."""
        self._ask(_SET_REGISTERS, 0, ctypes.addressof(registers))

    def _call(self) -> Stop:
        information = ctypes.create_string_buffer(88)
        self._ask(_GET_CALL, len(information), ctypes.addressof(information))
        if information.raw[0] == _ENTERED:
            number, *arguments = struct.unpack_from("<24x7Q", information)
            return Stop("enters", number, tuple(arguments))
        return Stop("leaves", value=struct.unpack_from("<24xq", information)[0])

    def _ask(self, request: int, address: int = 0, data: int = 0) -> None:
        if _LIBC.ptrace(request, self.pid, address, data) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
