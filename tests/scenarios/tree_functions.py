"""The jobs of `test_process_tree` and `test_system_calls`: each function is a child's whole life."""

# ruff: noqa: PTH102, PTH104, PTH106, PTH108, PTH211 -- system calls are meant, by name

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from crashmatrix.scenarios.processes.calls.outside_failpoints import failpoint_environment
from crashmatrix.scenarios.processes.calls.system_calls import run_watched
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.process_tree import ProcessTree


def _daemon() -> None:
    """Leave a process behind as daemons do: two forks, a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _write_for_ever(Path("daemon"))
        os._exit(0)


def _write_for_ever(name: Path) -> None:
    name.with_suffix(".pid").write_text(str(os.getpid()))
    with name.open("a") as file:
        while True:
            file.write("x")
            file.flush()


def _deaf() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _daemon()


def _shell() -> None:
    subprocess.run(["sh", "-c", "sleep 600 & echo $! >shell.pid; trap '' TERM; (setsid sleep 600 &)"], check=True)


LEAVING: dict[str, Callable[[], object]] = {"daemon": _daemon, "deaf": _deaf, "shell": _shell}


def leave_behind(_: Channel, how: str, folder: Path) -> int:
    """Return the status of a body that leaves a process behind, once the tree has ended."""
    os.chdir(folder)

    def body() -> None:
        LEAVING[how]()
        while not list(folder.glob("*.pid")):
            time.sleep(0.001)

    with ProcessTree(body) as tree:
        return tree.wait()


def leave_and_hang(channel: Channel, folder: Path) -> None:
    os.chdir(folder)

    def body() -> None:
        _daemon()
        threading.Event().wait()

    with ProcessTree(body):
        while not list(folder.glob("*.pid")):
            time.sleep(0.001)
        channel.send("ready")
        threading.Event().wait()


def end_by(_: Channel, how: int) -> int:
    def body() -> None:
        if how < 0:
            os.kill(os.getpid(), -how)
        os._exit(how)

    with ProcessTree(body) as tree:
        return tree.wait()


def end_by_exception(_: Channel) -> int:
    with ProcessTree(lambda: do(lambda: 1 // 0)) as tree:
        return tree.wait()


def freeze(_: Channel, folder: Path) -> list[int]:
    """Return how much a tree of three busy processes had written: twice while frozen, then until it has written more."""
    os.chdir(folder)

    def body() -> None:
        for number in range(3):
            if os.fork() == 0:
                _write_for_ever(Path(f"busy{number}"))
        threading.Event().wait()

    def written() -> int:
        return sum(path.stat().st_size for path in folder.glob("busy[0-9]"))

    with ProcessTree(body) as tree:
        while not all((folder / f"busy{number}").exists() for number in range(3)):
            time.sleep(0.001)
        with tree.frozen():
            sizes = [written()]
            time.sleep(0.05)
            sizes.append(written())
        while written() == sizes[0]:
            time.sleep(0.001)
        return [*sizes, written()]


def _calls(root: Path) -> dict[str, Callable[[], object]]:
    """Calls by name, to be made in a folder with a file `old` and a folder `folder`; `../away` lies outside."""
    new, old = str(root / "new"), str(root / "old")
    inside = os.open(root, os.O_RDONLY)
    file = os.open(old, os.O_RDWR)
    away = os.open(root.parent / "away", os.O_RDWR)
    return {
        "write": lambda: os.write(file, b"x"),
        "pwrite64": lambda: os.pwrite(file, b"x", 5),
        "writev": lambda: os.writev(file, [b"x", b"y"]),
        "pwritev2": lambda: os.pwritev(file, [b"x"], 3, os.RWF_DSYNC),
        "sendfile": lambda: os.sendfile(file, away, 0, 1),
        "copy_file_range": lambda: os.copy_file_range(away, file, 1),
        "ftruncate": lambda: os.ftruncate(file, 1),
        "truncate": lambda: os.truncate(old, 1),
        "fallocate": lambda: os.posix_fallocate(file, 0, 10),
        "fsync": lambda: os.fsync(file),
        "fdatasync": lambda: os.fdatasync(file),
        "fsync of the folder": lambda: os.fsync(inside),
        "openat": lambda: os.open(new, os.O_CREAT | os.O_WRONLY),
        "openat of a name": lambda: os.open(os.path.relpath(new), os.O_CREAT | os.O_WRONLY),
        "openat truncating": lambda: os.open(old, os.O_TRUNC | os.O_WRONLY),
        "openat in a folder": lambda: os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=inside),
        "mkdir": lambda: os.mkdir(new),
        "mkdirat": lambda: os.mkdir("new", dir_fd=inside),
        "rmdir": lambda: os.rmdir(root / "folder"),
        "unlink": lambda: os.unlink(old),
        "unlinkat": lambda: os.unlink("old", dir_fd=inside),
        "rename": lambda: os.rename(old, new),
        "rename from outside": lambda: os.rename(root.parent / "away", new),
        "rename to the outside": lambda: os.rename(old, root.parent / "else"),
        "renameat": lambda: os.rename("old", "new", src_dir_fd=inside, dst_dir_fd=inside),
        "link": lambda: os.link(old, new),
        "linkat": lambda: os.link("old", "new", src_dir_fd=inside, dst_dir_fd=inside),
        "symlink": lambda: os.symlink("x", new),
        "symlinkat": lambda: os.symlink("x", "new", dir_fd=inside),
        "journal line": lambda: os.write(os.open(root.parent / "journal", os.O_WRONLY | os.O_APPEND), b"ack 1\n"),
        # Calls that change nothing in the folder:
        "reading": lambda: (os.open(old, os.O_RDONLY), os.read(file, 1)),
        "writing elsewhere": lambda: (os.write(away, b"x"), os.write(2, b"x")),
        "removing elsewhere": lambda: os.unlink(root.parent / "away"),
        "a name that begins alike": lambda: os.mkdir(str(root) + "2"),
    }


def watch_call(_: Channel, name: str, root: Path) -> tuple[list[str], bool]:
    """Return the crash points of one call, and whether the folder was untouched at each."""
    (root / "folder").mkdir()
    (root / "old").write_bytes(b"old")
    (root.parent / "away").write_bytes(b"away")
    (root.parent / "journal").touch()
    before = _look(root)
    points: list[tuple[str, bool]] = []
    status = run_watched(
        lambda: do(_calls(root)[name]),
        root=root,
        journal=root.parent / "journal",
        failpoints=(),
        at=lambda point, *_: points.append((point, _look(root) == before)),
    )
    assert status == 0
    return [point for point, _ in points], all(untouched for _, untouched in points)


def do(call: Callable[[], object]) -> None:
    call()


def _look(root: Path) -> list[object]:
    return [(str(path), path.lstat().st_size, path.lstat().st_mode) for path in sorted(root.rglob("*"))]


def interrupt_calls(_: Channel, root: Path) -> tuple[int, int]:
    """Write under a hail of signals; returns how many writes were made, and how many were seen."""
    writes, seen = 300, 0

    def body() -> None:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        with contextlib.suppress(InterruptedError):
            file = os.open(root / "file", os.O_CREAT | os.O_WRONLY)
            for _ in range(writes):
                os.write(file, b"x")
        os._exit(0)

    def at(name: str, *_: object) -> None:
        nonlocal seen
        seen += name == "call.write"
        time.sleep(0.0005)  # Long enough for a signal to come.

    run_watched(body, root=root, journal=None, failpoints=(), at=at)
    return (root / "file").stat().st_size, seen


def run_program(_: Channel, root: Path, program: str, failpoints: list[str]) -> list[str]:
    """Run a Python program in another interpreter; returns its crash points."""
    points: list[str] = []

    def body() -> None:
        os.environ.update(failpoint_environment(failpoints), ROOT=str(root))
        os.execv(sys.executable, [sys.executable, "-c", program])

    status = run_watched(body, root=root, journal=None, failpoints=failpoints, at=lambda name, *_: points.append(name))
    assert status == 0
    return points


SAYS = 60


def say_before_writing(_: Channel, root: Path) -> list[tuple[int, int]]:
    """A server answers its client, and writes only then.

    Returns at each of its writes how often it has answered, and how many lines the client has written to the journal.
    """
    journal, (heard, said) = root.parent / "journal", os.pipe()
    journal.touch()
    seen: list[tuple[int, int]] = []
    answered = 0

    def body() -> None:
        if os.fork() == 0:
            os.close(said)
            lines = os.open(journal, os.O_WRONLY | os.O_APPEND)
            while os.read(heard, 1):
                os.write(lines, b"ack 1\n")
            os._exit(0)
        file = os.open(root / "file", os.O_CREAT | os.O_WRONLY)
        for _ in range(SAYS):
            os.write(said, b"x")
            os.write(file, b"x")

    def at(name: str, *_: object) -> None:
        nonlocal answered
        if name == "call.write":
            answered += 1
            seen.append((answered, journal.stat().st_size // len("ack 1\n")))

    assert run_watched(body, root=root, journal=journal, failpoints=(), at=at) == 0
    return seen


def beside_others(_: Channel, root: Path) -> list[str]:
    """Write beside two processes that compute, and note lines, for ever, and a thread that removes files.

    Returns the crash points.
    """
    journal = root.parent / "journal"
    journal.touch()
    points: list[str] = []

    def body() -> None:
        def compute() -> None:
            while True:
                sum(range(1000))

        def note() -> None:
            line = os.open(journal, os.O_WRONLY | os.O_APPEND)
            while True:
                os.write(line, b"ack 1\n")

        def remove() -> None:
            for number in range(5):
                os.unlink(root / f"old{number}")

        file = os.open(root / "file", os.O_CREAT | os.O_WRONLY)
        for number in range(5):
            os.close(os.open(root / f"old{number}", os.O_CREAT | os.O_WRONLY))
        removing = threading.Thread(target=remove)
        removing.start()
        for work in (compute, note):
            if os.fork() == 0:
                work()
        for _ in range(20):
            os.write(file, b"x")
        removing.join()
        os._exit(0)

    assert run_watched(body, root=root, journal=journal, failpoints=(), at=lambda name, *_: points.append(name)) == 0
    return points
