"""Failpoints of programs written with fail-rs or gofail in a watched process tree: they become visible without their help.

Each is configured to do something harmless that takes a system call: fail-rs ``sleep`` of an absurd length, which tells which
failpoint it is and which the watching process answers in the kernel's place at once; gofail ``print``, which writes the
failpoint's name.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from crashmatrix.scenarios.processes.calls.arguments import int32, memory
from crashmatrix.scenarios.processes.calls.own_failpoints import TIMESPEC, shown
from crashmatrix.scenarios.processes.calls.seccomp import Call
from crashmatrix.scenarios.processes.calls.table import SLEEPS, column

__all__ = ["failpoint_environment", "printed", "sleeping"]

_PRINTED_BYTES_MAX = 4096
_TIMER_ABSTIME = 1
_SLEEP_SECONDS = 4_000_000
"""Six weeks: no program sleeps that long of its own."""
_GOFAIL_SAYS = b"failpoint print: "


def failpoint_environment(names: Sequence[str]) -> dict[str, str]:
    """Return the environment in which a program's failpoints show, for `run_watched` with the same names."""
    if not names:
        return {}
    sleeps = (f"{name}=sleep({(_SLEEP_SECONDS + number) * 1000})" for number, name in enumerate(names))
    return {"FAILPOINTS": ";".join(sleeps), "GOFAIL_FAILPOINTS": ";".join(f"{name}=print" for name in names)}


def sleeping(call: Call, names: Sequence[str]) -> str:
    """Return the failpoint that a sleep shows, one of Python's too; empty if it is an ordinary sleep. Raises OSError."""
    clocked = call.number == SLEEPS["clock_nanosleep"][column()]
    address = call.arguments[2 if clocked else 0]
    seconds, nanoseconds = TIMESPEC.unpack(memory(call, address, TIMESPEC.size))
    if not clocked and (own := shown(call, address, seconds, nanoseconds)):
        return own
    length = seconds + nanoseconds / 1e9
    if clocked and call.arguments[1] & _TIMER_ABSTIME:
        length -= time.clock_gettime(int32(call.arguments[0]))
    number = round(length) - _SLEEP_SECONDS
    return names[number] if 0 <= number < len(names) else ""


def printed(call: Call, names: Sequence[str]) -> str:
    """Return the failpoint whose name a write to standard output is; empty if it is other output. Raises OSError."""
    if not names:
        return ""
    text = memory(call, call.arguments[1], min(call.arguments[2], _PRINTED_BYTES_MAX))
    name = text.removeprefix(_GOFAIL_SAYS).strip().decode(errors="replace")
    return name if text.startswith(_GOFAIL_SAYS) and name in names else ""
