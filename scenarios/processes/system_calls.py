"""Crash points for programs that have none: every system call by which a process tree changes the folder or its journal.

The calls below wait (`seccomp`) until a snapshot was taken there, or the tree was killed. The hits of a call are
counted as those of a failpoint of its name:

    call.write, call.rename, ...   about to do it, to a file in the folder
    journal.line                   about to write to the journal
    NAME                           a failpoint of a program in another language, see below

Not seen: stores to mapped memory (they show at the next call), io_uring, and what is done through descriptors and paths
that the kernel resolves out of our sight (a name reached by a symbolic link from outside the folder).

Failpoints of programs written with fail-rs or gofail become visible without their help. Each is configured to do something
harmless that takes a system call: fail-rs ``sleep`` of an absurd length, which tells which failpoint it is and which we
answer in the kernel's place at once; gofail ``print``, which writes the failpoint's name.
"""

from __future__ import annotations

import os
import platform
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.seccomp import Call, CallFilter, Listener, install, listener_from

__all__ = ["DESCRIPTIONS", "JOURNAL_LINE", "PREFIX", "failpoint_environment", "run_watched"]

PREFIX = "call."
"""The prefix of crash points that are system calls."""

JOURNAL_LINE = "journal.line"

_PATH_BYTES_MAX = 4096
_CREATES = os.O_CREAT | os.O_TRUNC
_AT_FDCWD = 2**32 - 100
_TIMER_ABSTIME = 1
_SLEEP_SECONDS = 4_000_000
"""Six weeks: no program sleeps that long of its own."""
_GOFAIL_SAYS = b"failpoint print: "


@dataclass(frozen=True)
class _Kind:
    """A system call: its numbers (x86_64, aarch64; 0: not there), and the arguments that name what it changes."""

    numbers: tuple[int, int]
    files: tuple[int, ...] = ()
    paths: tuple[tuple[int | None, int], ...] = ()
    """Pairs of directory descriptor (None: the current directory) and path."""
    flags_at: int = 0
    """Where its flags are, if it matters only with O_CREAT or O_TRUNC."""


_KINDS: Final = {
    "write": _Kind((1, 64), (0,)),
    "pwrite64": _Kind((18, 68), (0,)),
    "writev": _Kind((20, 66), (0,)),
    "pwritev": _Kind((296, 70), (0,)),
    "pwritev2": _Kind((328, 287), (0,)),
    "sendfile": _Kind((40, 71), (0,)),
    "copy_file_range": _Kind((326, 285), (2,)),
    "splice": _Kind((275, 76), (2,)),
    "ftruncate": _Kind((77, 46), (0,)),
    "fallocate": _Kind((285, 47), (0,)),
    "fsync": _Kind((74, 82), (0,)),
    "fdatasync": _Kind((75, 83), (0,)),
    "msync": _Kind((26, 227)),
    "truncate": _Kind((76, 45), paths=((None, 0),)),
    "creat": _Kind((85, 0), paths=((None, 0),)),
    "open": _Kind((2, 0), paths=((None, 0),), flags_at=1),
    "openat": _Kind((257, 56), paths=((0, 1),), flags_at=2),
    "openat2": _Kind((437, 437), paths=((0, 1),)),
    "mkdir": _Kind((83, 0), paths=((None, 0),)),
    "mkdirat": _Kind((258, 34), paths=((0, 1),)),
    "rmdir": _Kind((84, 0), paths=((None, 0),)),
    "unlink": _Kind((87, 0), paths=((None, 0),)),
    "unlinkat": _Kind((263, 35), paths=((0, 1),)),
    "rename": _Kind((82, 0), paths=((None, 0), (None, 1))),
    "renameat": _Kind((264, 38), paths=((0, 1), (2, 3))),
    "renameat2": _Kind((316, 276), paths=((0, 1), (2, 3))),
    "link": _Kind((86, 0), paths=((None, 1),)),
    "linkat": _Kind((265, 37), paths=((2, 3),)),
    "symlink": _Kind((88, 0), paths=((None, 1),)),
    "symlinkat": _Kind((266, 36), paths=((1, 2),)),
}
_SLEEPS: Final = {"nanosleep": (35, 101), "clock_nanosleep": (230, 115)}

DESCRIPTIONS: Final = {
    JOURNAL_LINE: "about to write to the journal",
    **{PREFIX + name: f"about to {name} in the folder" for name in _KINDS},
}
"""The description of each crash point of a system without failpoints."""


def failpoint_environment(names: Sequence[str]) -> dict[str, str]:
    """Return the environment in which a program's failpoints show, for `run_watched` with the same names."""
    if not names:
        return {}
    sleeps = (f"{name}=sleep({(_SLEEP_SECONDS + number) * 1000})" for number, name in enumerate(names))
    return {"FAILPOINTS": ";".join(sleeps), "GOFAIL_FAILPOINTS": ";".join(f"{name}=print" for name in names)}


def run_watched(
    body: Callable[[], None],
    *,
    root: Path,
    journal: Path | None,
    failpoints: Sequence[str],
    at: Callable[[str, ProcessTree], None],
) -> int:
    """Run ``body`` in a process tree of its own; returns its exit code, negative for a signal.

    Args:
        at: called with a crash point's name at each hit, in order, before the call is done; it may freeze or kill the tree.

    Raises OSError where `seccomp.lacking` says so.
    """
    ours, theirs = socket.socketpair()

    def filtered() -> None:
        ours.close()
        with theirs:
            install(_filters(failpoints), theirs)
        body()

    with ProcessTree(filtered) as tree, ours:
        theirs.close()
        if listener := listener_from(ours):
            try:
                _Watch(listener, root, journal, failpoints).until_end(tree, at)
            finally:
                listener.close()
        return tree.wait()


def _filters(failpoints: Sequence[str]) -> list[CallFilter]:
    column = _column()
    kinds = [kind for kind in _KINDS.values() if kind.numbers[column]]
    filters = [CallFilter(kind.numbers[column], kind.flags_at, _CREATES if kind.flags_at else 0) for kind in kinds]
    return filters + [CallFilter(numbers[column]) for numbers in _SLEEPS.values() if failpoints]


def _column() -> int:
    return ("x86_64", "aarch64").index(platform.machine())


class _Watch:
    """Knows which crash point a waiting call is."""

    def __init__(self, listener: Listener, root: Path, journal: Path | None, failpoints: Sequence[str]) -> None:
        self._listener, self._failpoints = listener, list(failpoints)
        self._root = os.path.realpath(root)
        self._journal = os.path.realpath(journal) if journal else None
        column = _column()
        self._kinds = {kind.numbers[column]: (name, kind) for name, kind in _KINDS.items() if kind.numbers[column]}
        self._sleeps = {numbers[column]: name for name, numbers in _SLEEPS.items()}

    def until_end(self, tree: ProcessTree, at: Callable[[str, ProcessTree], None]) -> None:
        """Answer call after call until the body has ended."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(tree, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if ready.get(self._listener.fileno(), 0) & select.POLLIN:
                self._one(tree, at)
            elif tree.fileno() in ready:
                return
            else:  # Nobody has the filter any more; the end is a moment away.
                poll.unregister(self._listener)

    def _one(self, tree: ProcessTree, at: Callable[[str, ProcessTree], None]) -> None:
        call = self._listener.receive()
        if call is None:
            return
        try:
            name, skip = self._point(call)
        except (OSError, OverflowError, struct.error):
            # It was killed meanwhile, or hands over an address that is none.
            name, skip = "", False
        if name:
            tree.held = call.pid if self._listener.holds else 0
            at(name, tree)
            tree.held = 0
        (self._listener.skip if skip else self._listener.let_go)(call)

    def _point(self, call: Call) -> tuple[str, bool]:
        """Return the crash point's name, or nothing, and whether to answer in the kernel's place."""
        if call.number in self._sleeps:
            failpoint = self._sleeping(call)
            return failpoint, bool(failpoint)
        name, kind = self._kinds[call.number]
        if name == "write" and call.arguments[0] == 1 and (failpoint := self._printed(call)):
            return failpoint, False
        files = self._files(call, kind)
        if self._journal in files:
            return JOURNAL_LINE, False
        touched = [*files, *self._paths(call, kind)]
        inside = any(path == self._root or path.startswith(self._root + "/") for path in touched)
        return (PREFIX + name if inside or name == "msync" else ""), False

    def _files(self, call: Call, kind: _Kind) -> list[str]:
        return [_link(call, f"fd/{_int32(call.arguments[place])}") for place in kind.files]

    def _paths(self, call: Call, kind: _Kind) -> list[str]:
        found = []
        for directory_at, path_at in kind.paths:
            path = os.fsdecode(_memory(call, call.arguments[path_at], _PATH_BYTES_MAX).partition(b"\0")[0])
            if not path.startswith("/"):
                path = os.path.join(_directory(call, directory_at), path)  # noqa: PTH118  # need not exist, nor be UTF-8
            found.append(os.path.normpath(path))
        return found

    def _sleeping(self, call: Call) -> str:
        clocked = self._sleeps[call.number] == "clock_nanosleep"
        address = call.arguments[2 if clocked else 0]
        seconds, nanoseconds = struct.unpack("<qq", _memory(call, address, 16))
        length = seconds + nanoseconds / 1e9
        if clocked and call.arguments[1] & _TIMER_ABSTIME:
            length -= time.clock_gettime(_int32(call.arguments[0]))
        number = round(length) - _SLEEP_SECONDS
        return self._failpoints[number] if 0 <= number < len(self._failpoints) else ""

    def _printed(self, call: Call) -> str:
        if not self._failpoints:
            return ""
        text = _memory(call, call.arguments[1], min(call.arguments[2], _PATH_BYTES_MAX))
        name = text.removeprefix(_GOFAIL_SAYS).strip().decode(errors="replace")
        return name if text.startswith(_GOFAIL_SAYS) and name in self._failpoints else ""


def _int32(value: int) -> int:
    return struct.unpack("<i", struct.pack("<I", value & 0xFFFFFFFF))[0]  # type: ignore[no-any-return]  # struct is not typed


def _directory(call: Call, at: int | None) -> str:
    relative = at is None or call.arguments[at] & 0xFFFFFFFF == _AT_FDCWD
    return _link(call, "cwd" if at is None or relative else f"fd/{_int32(call.arguments[at])}")


def _link(call: Call, name: str) -> str:
    return os.readlink(f"/proc/{call.pid}/{name}")  # noqa: PTH115  # as the kernel says it


def _memory(call: Call, address: int, length: int) -> bytes:
    """Read a waiting thread's memory, up to the end of what is mapped. Raises OSError."""
    with open(f"/proc/{call.pid}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(length)
