"""The jobs of `test_jobs`: each function is a child's whole life."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from crashmatrix import PromiseBroken, UsageError, faults
from crashmatrix.scenarios.processes.jobs import Channel

ERRORS: dict[str, BaseException] = {
    "own": UsageError("no such thing"),
    "promise": PromiseBroken("corrupt", "row 7 differs"),
    "builtin": FileNotFoundError(2, "No such file or directory", "/x"),
    "panic": faults.Panic("stop"),
    "interrupt": KeyboardInterrupt(),
    "exit": SystemExit(3),
}


def give(_: Channel, value: Any) -> Any:
    return value


def loaded(_: Channel, module: str) -> bool:
    """Return whether the module was loaded before any function here imported it."""
    return module in sys.modules


def plant(_: Channel, name: str) -> None:
    from crashmatrix.scenarios.systems.reference.mutation.mutants import (
        MUTANTS,  # It imports the engine, which the other jobs do without.
    )

    MUTANTS[name].plant()


def fail(_: Channel, name: str) -> None:
    raise ERRORS[name]


def die(_: Channel, by: int) -> None:
    os.write(1, b"last words\n")
    os.kill(os.getpid(), by)
    threading.Event().wait()


def stop_itself(_: Channel) -> str:
    os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def crash(_: Channel) -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # pytest's fault handler would write its own words
    ctypes.string_at(0)


def leave(_: Channel, status: int) -> None:
    os._exit(status)


def give_unpicklable(_: Channel) -> Any:
    return lambda: None


def hang_alone(channel: Channel) -> None:
    """Say so, then neither listen nor do anything for ever."""
    channel.send("here")
    threading.Event().wait()


def leave_things_to_do(_: Channel) -> str:
    """Return while a thread still runs that an ordinary exit would wait for."""
    threading.Thread(target=threading.Event().wait).start()
    return "returned"


def hang(channel: Channel) -> None:
    """Tell the ids of this process and of one it started, then do nothing for ever."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    channel.send((os.getpid(), child.pid))
    threading.Event().wait()


def hang_deaf(_: Channel) -> None:
    """Close every file, as a daemon does, and do nothing for ever."""
    os.closerange(3, 256)
    threading.Event().wait()


def leave_fork_behind(channel: Channel, how: str) -> int:
    """End, while a fork that shares all our files lives on."""
    child = os.fork()
    if child == 0:
        threading.Event().wait()
    channel.send(child)
    channel.receive()
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return child


def converse(channel: Channel) -> list[Any]:
    """Send numbers up, collect the answers."""
    answers = []
    for number in range(3):
        channel.send(number)
        answers.append(channel.receive())
    return answers


def say_nothing(channel: Channel) -> str:
    channel.send(None)
    channel.send(None)
    return "said it"


def shout(_: Channel, count: int, last: bytes) -> None:
    os.write(1, b"x" * count)
    os.write(2, last)
    os._exit(4)


def whereabouts(_: Channel) -> tuple[str, list[str], list[str], str]:
    """Return the current folder, where to import from, the program's arguments, and what standard input holds."""
    return str(Path.cwd()), sys.path, sys.argv, str(Path("/proc/self/fd/0").readlink())


def identity(_: Channel) -> tuple[bool, bool, str, bool]:
    """Whether process group and session are our own; the main module; whether an interrupt would end us."""
    main = getattr(sys.modules["__main__"], "__file__", None) or ""
    own = os.getpid()
    return os.getpgrp() == own, os.getsid(0) == own, Path(main).name, signal.getsignal(signal.SIGINT) is signal.SIG_DFL
