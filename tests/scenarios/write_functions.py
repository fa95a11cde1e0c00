"""The jobs of `test_long_writes`: writes that cross pages of a file, in each way there is."""

from __future__ import annotations

import contextlib
import mmap
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from crashmatrix.scenarios.processes.calls.system_calls import run_watched
from crashmatrix.scenarios.processes.jobs import Channel

PAGE = os.sysconf("SC_PAGESIZE")
RECORD = PAGE + 100
_DATA = bytes(1 + at % 250 for at in range(5 * PAGE + 7))
_OLD = b"-" * 10

Way = tuple[int, int, Callable[[int], int], int]
"""Flags to open with, where the position is, the write (returns what the call returns), and where in the file it goes."""

WRITES: dict[str, Way] = {
    "write": (0, 3, lambda file: os.write(file, _DATA), 3),
    "write at the end": (os.O_APPEND, 0, lambda file: os.write(file, _DATA), len(_OLD)),
    "synced": (os.O_DSYNC, 3, lambda file: os.write(file, _DATA), 3),
    "pwrite64": (0, 1, lambda file: os.pwrite(file, _DATA, PAGE - 1), PAGE - 1),
    "writev": (0, 3, lambda file: os.writev(file, [_DATA[:100], _DATA[100:]]), 3),
    "pwritev": (0, 1, lambda file: os.pwritev(file, [_DATA[:100], _DATA[100:]], 7), 7),
    "pwritev2": (0, 1, lambda file: os.pwritev(file, [_DATA], 7, os.RWF_DSYNC), 7),
    "a short one across a page": (0, PAGE - 1, lambda file: os.write(file, b"ab"), PAGE - 1),
}
UNCUT: dict[str, Way] = {
    "within a page": (0, 3, lambda file: os.write(file, b"x" * (PAGE - 3)), 3),
    "read only": (0, 3, lambda _: _fails(lambda: os.write(os.open("/proc/self/exe", os.O_RDONLY), _DATA)), 3),
    "limited": (0, 0, lambda file: _limited(file), 0),
    "direct": (os.O_DIRECT, 0, lambda file: _direct(file), 0),
}


def _fails(call: Callable[[], int]) -> int:
    with contextlib.suppress(OSError):
        return call()
    return -1


def _direct(file: int) -> int:
    with mmap.mmap(-1, 3 * PAGE) as aligned:
        aligned[:] = _DATA[: 3 * PAGE]
        return os.write(file, aligned)


def _limited(file: int) -> int:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE + 5, PAGE + 5))
    return os.write(file, _DATA)


def _open(name: str, path: Path) -> tuple[int, Way]:
    flags, position, write, at = (WRITES | UNCUT)[name]
    path.write_bytes(_OLD)
    file = os.open(path, os.O_RDWR | flags)
    os.lseek(file, position, os.SEEK_SET)
    return file, (flags, position, write, at)


def _done(file: int, way: Way, path: Path) -> tuple[int, int, bytes]:
    """Make the write; return its result, the position after it, and the file."""
    returned = way[2](file)
    return returned, os.lseek(file, 0, os.SEEK_CUR), path.read_bytes()


def undisturbed(name: str, path: Path) -> tuple[int, int, bytes]:
    """The outcome of a write that nobody looks at."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        returned, position, _ = _done(*_open(name, path), path)
        os.write(writer, f"{returned} {position}".encode())
        os._exit(0)
    os.waitpid(pid, 0)
    returned, position = map(int, os.read(reader, 100).split())
    os.close(reader)
    os.close(writer)
    return returned, position, path.read_bytes()


def watch_write(_: Channel, name: str, root: Path) -> tuple[list[bytes], tuple[int, int, bytes], list[bytes]]:
    """Return the file at each crash point, the outcome, and what the file must be before the write and at the cuts."""
    path = root / "file"
    file, way = _open(name, path)
    before = path.read_bytes()
    states: list[bytes] = []
    reader, writer = os.pipe()

    def at(_point: str, _tree: object, bring_about: Callable[[], None]) -> None:
        bring_about()
        states.append(path.read_bytes())

    def body() -> None:
        returned, position, _ = _done(file, way, path)
        os.write(writer, f"{returned} {position}".encode())

    run_watched(body, root=root, journal=None, failpoints=(), at=at)
    returned, position = map(int, os.read(reader, 100).split())
    return states, (returned, position, path.read_bytes()), [before, *_cuts(name, before, way[3])]


def _cuts(name: str, before: bytes, at: int) -> list[bytes]:
    """Worked out the long way: the file after the first page of the write, its middle one, its last."""
    data = b"ab" if "short" in name else _DATA
    ends = [length for length in range(1, len(data)) if (at + length) % PAGE == 0]
    chosen = sorted({ends[0], ends[len(ends) // 2], ends[-1]})
    return [before.ljust(at, b"\0")[:at] + data[:end] + before[at + end :] for end in chosen]


def append_by_two(_: Channel, root: Path) -> Counter[str]:
    """Return how often each record is there after two processes have appended eight each, every cut looked at."""
    path = root / "log"

    def append(letter: bytes) -> None:
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for _ in range(8):
            os.write(file, letter * RECORD)

    def body() -> None:
        if (pid := os.fork()) == 0:
            append(b"b")
            os._exit(0)
        append(b"a")
        os.waitpid(pid, 0)

    run_watched(body, root=root, journal=None, failpoints=(), at=lambda _name, _tree, bring_about: bring_about())
    text = path.read_text()
    return Counter(text[at : at + RECORD] for at in range(0, len(text), RECORD))
