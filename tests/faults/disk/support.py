"""Shared by the tests of the recording disk: forked children, traces made by hand, small workloads."""

import os
import pickle
import random
import signal
import sqlite3
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from crashmatrix.faults.disk import (
    FILESYSTEMS,
    CrashImages,
    CrashState,
    Filesystem,
    Flush,
    Machine,
    Mark,
    Note,
    Operation,
    Trace,
    Write,
    die_with_parent,
)

T = TypeVar("T")

ON_DISK = [name for name in FILESYSTEMS if Filesystem.parse(name).on_disk]


def in_child(function: Callable[[], T]) -> T:
    """Run in a forked child, so that this process stays in its mount namespace; return what it returned."""
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(reader)
            die_with_parent(parent)
            with os.fdopen(writer, "wb") as pipe:
                try:
                    answer: object = (True, function())
                except BaseException:
                    answer = (False, traceback.format_exc())
                pickle.dump(answer, pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child died with {os.waitstatus_to_exitcode(status)}"
    good, value = pickle.loads(data)
    assert good, value
    return value  # type: ignore[no-any-return]


def verdict_of(images: CrashImages, state: CrashState, check: Callable[[Path], str]) -> str:
    """Mount a state and run a checker on it in a forked child; what the checker says."""
    with images.mounted(state) as root:
        return in_child(lambda: check(root))


def tree(root: Path) -> dict[str, bytes | None]:
    """Relative names to contents; directories to None."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))
    }


def synthetic_trace(operations: Sequence[Operation], *, size_bytes: int = 1 << 20, filesystem: str = "ext4") -> Trace:
    """A trace that no filesystem made: for what needs none."""
    base = ((4096, b"b" * 8192),)
    marked = [Mark("start"), *operations, Mark("finish")]
    return Trace(filesystem=filesystem, size_bytes=size_bytes, base=base, operations=tuple(marked))


def random_trace(seed: int, *, length: int = 60) -> Trace:
    """Writes of 1 to 16 sectors, often over each other, with flushes and notes between them."""
    chance = random.Random(seed)
    operations: list[Operation] = []
    for number in range(length):
        match chance.choices(["write", "flush", "note"], [6, 1, 2])[0]:
            case "write":
                sectors = chance.choice([1, 1, 2, 8, 8, 16])
                # Few different contents, so that equal images come about by different ways.
                content = chance.choice([b"\0", b"b", b"x", bytes([number])])
                operations.append(Write(512 * chance.randrange(48), content * 512 * sectors))
            case "flush":
                operations.append(Flush())
            case _:
                operations.append(Note(b"note %d" % number))
    return synthetic_trace(operations)


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and sync it and its directory."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def sqlite_workload(journal_mode: str, synchronous: str, rows: int = 10) -> Callable[[Machine], None]:
    """Insert rows one transaction each, noting each as it is acknowledged."""

    def work(machine: Machine) -> None:
        db = sqlite3.connect(machine.root / "rows.db", isolation_level=None)
        db.execute(f"pragma journal_mode={journal_mode}")
        db.execute(f"pragma synchronous={synchronous}")
        db.execute("create table rows (number integer primary key, filler)")
        for number in range(rows):
            db.execute("insert into rows values (?, ?)", (number, "filler" * 40))
            machine.note(b"ack %d" % number)

    return work


def sqlite_check(trace: Trace, state: CrashState) -> Callable[[Path], str]:
    """A checker: whether every acknowledged row is there."""
    acknowledged = len(trace.notes_before(state.cut))

    def check(root: Path) -> str:
        try:
            db = sqlite3.connect(root / "rows.db", isolation_level=None)
            if db.execute("pragma integrity_check").fetchall() != [("ok",)]:
                return "corrupt"
            rows = [number for (number,) in db.execute("select number from rows order by number")]
        except sqlite3.OperationalError as error:
            return (
                "loses" if acknowledged and "no such table" in str(error) else "safe" if not acknowledged else "fails"
            )
        except sqlite3.DatabaseError:
            return "corrupt"
        return "safe" if rows == list(range(len(rows))) and len(rows) >= acknowledged else "loses"

    return check


def wait_dead(pid: int) -> None:
    """Kill a child of ours and reap it."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


Answer = dict[str, Any]
