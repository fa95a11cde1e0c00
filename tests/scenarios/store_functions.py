"""The jobs of `test_mapped_stores`: programs that store single bytes to a mapped file of the folder."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from crashmatrix.scenarios.processes.calls.mapped_stores import MAPPED_STORE, STRETCH_MAX
from crashmatrix.scenarios.processes.calls.system_calls import Coverage, run_watched
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree

PAGE = mmap.PAGESIZE
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR, _PW = mmap.PROT_READ, mmap.PROT_WRITE


def _map(path: Path, protection: int = _PR | _PW, flags: int = mmap.MAP_SHARED, pages: int = 2) -> mmap.mmap:
    file = os.open(path, os.O_CREAT | os.O_RDWR)
    os.ftruncate(file, pages * PAGE)
    return mmap.mmap(file, pages * PAGE, flags, protection)


def _put(memory: mmap.mmap, at: int, byte: bytes) -> None:
    """One store, of one byte."""
    memory[at] = byte[0]


def _two(root: Path) -> None:
    memory = _map(root / "file")
    _put(memory, 0, b"a")
    _put(memory, 1, b"b")


def _after_fork(root: Path) -> None:
    memory = _map(root / "file")
    _put(memory, 0, b"a")
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    _put(memory, 1, b"b")


def _after_program(root: Path) -> None:
    memory = _map(root / "file")
    _put(memory, 0, b"a")
    subprocess.run(["true"], check=True)
    _put(memory, 1, b"b")


def _protected_later(root: Path) -> None:
    memory = _map(root / "file", _PR)
    address = next(
        int(line.partition("-")[0], 16) for line in Path("/proc/self/maps").read_text().splitlines() if "/file" in line
    )
    assert _LIBC.mprotect(ctypes.c_void_p(address), PAGE, _PR | _PW) == 0
    for at, byte in enumerate((b"a", b"b")):
        ctypes.c_char.from_address(address + at).value = byte
    memory.close()


def _grown(root: Path) -> None:
    memory = _map(root / "file", pages=1)
    _put(memory, 0, b"a")
    os.truncate(root / "file", 600 * PAGE)
    other = mmap.mmap(-1, 64 * PAGE)  # Something in the way, perhaps: the mapping moves.
    memory.resize(600 * PAGE)
    _put(memory, 1, b"b")
    other.close()


def _read_into(root: Path) -> None:
    memory = _map(root / "file")
    (root.parent / "source").write_bytes(b"a")
    file = os.open(root.parent / "source", os.O_RDONLY)
    assert os.readv(file, [memoryview(memory)[0:1]]) == 1
    _put(memory, 1, b"b")


def _signalled(root: Path) -> None:
    memory = _map(root / "file")
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    _put(memory, 0, b"a")
    for _ in range(50):
        os.getppid()
    _put(memory, 1, b"b")
    signal.setitimer(signal.ITIMER_REAL, 0)


def _across_pages(root: Path) -> None:
    memory = _map(root / "file")
    ctypes.c_uint64.from_buffer(memory, PAGE - 4).value = 2**64 - 1  # One store of eight bytes.


PROGRAMS: dict[str, Callable[[Path], None]] = {
    "two stores": _two,
    "after a fork": _after_fork,
    "after a program": _after_program,
    "made writable later": _protected_later,
    "grown": _grown,
    "read into": _read_into,
    "under signals": _signalled,
    "across pages": _across_pages,
}
STATES: dict[str, list[bytes]] = {
    **{name: [b"\0\0", b"a\0"] for name in PROGRAMS},
    "read into": [b"a\0"],
    "across pages": [b"\0\0"],
}
ENDS: dict[str, bytes] = {**dict.fromkeys(PROGRAMS, b"ab"), "across pages": b"\0\0"}

UNSEEN: dict[str, Callable[[Path], object]] = {
    "elsewhere": lambda root: _put(_map(root.parent / "away"), 0, b"a"),
    "private": lambda root: _put(_map(root / "file", flags=mmap.MAP_PRIVATE), 0, b"a"),
    "anonymous": lambda _: _put(mmap.mmap(-1, PAGE), 0, b"a"),
    "reading": lambda root: bytes(_map(root / "file", _PR)),
}


def _with_thread(root: Path) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    _two(root)
    done.set()
    thread.join()


def _thread_later(root: Path) -> None:
    memory = _map(root / "file")
    thread = threading.Thread(target=lambda: _put(memory, 0, b"a"))
    thread.start()
    thread.join()
    _put(memory, 1, b"b")


THREADED = {"with a thread": _with_thread, "a thread later": _thread_later}


def watch_stores(_: Channel, name: str, root: Path) -> tuple[list[bytes], bytes, list[str]]:
    """Return the file's first two bytes before each store, and at the end; and what could not be seen."""
    folder = root / "root"
    folder.mkdir()
    states: list[bytes] = []
    coverage = Coverage()

    def at(point: str, _: ProcessTree, __: Callable[[], None]) -> None:
        if point == MAPPED_STORE:
            states.append((folder / "file").read_bytes()[:2])

    program: Callable[[Path], object] = {**PROGRAMS, **UNSEEN, **THREADED}[name]

    def body() -> None:
        program(folder)

    status = run_watched(body, root=folder, journal=None, failpoints=(), at=at, coverage=coverage, stores=True)
    assert status == 0
    file = folder / "file"
    return states, file.read_bytes()[:2] if file.exists() else b"", coverage.lacks


def count_many(_: Channel, root: Path) -> tuple[int, int]:
    """Return how many stores are seen, and how many rules were noted."""
    coverage, seen = Coverage(), 0

    def body() -> None:
        memory = _map(root / "file")
        for _ in range(2):
            for at in range(STRETCH_MAX + 20):
                _put(memory, at, b"a")
            os.getppid()

    def at(point: str, *_: object) -> None:
        nonlocal seen
        seen += point == MAPPED_STORE

    assert run_watched(body, root=root, journal=None, failpoints=(), at=at, coverage=coverage, stores=True) == 0
    return seen, len(coverage.notes)


def kill_at_store(_: Channel, root: Path) -> tuple[bytes, int]:
    """Return what is left of two stores after a kill before the second, and the body's status."""
    seen = 0

    def at(point: str, tree: ProcessTree, _: object) -> None:
        nonlocal seen
        seen += point == MAPPED_STORE
        if seen == 2:
            tree.kill()

    status = run_watched(lambda: _two(root), root=root, journal=None, failpoints=(), at=at, stores=True)
    return (root / "file").read_bytes()[:2], status
