"""The jobs of the sandbox's tests, each in a cell."""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from crashmatrix.scenarios.judging.forked_check import Apart, run_checker
from crashmatrix.scenarios.processes.jobs import Channel
from crashmatrix.scenarios.processes.sandbox.cell import Cell, CellMaker
from crashmatrix.scenarios.processes.sandbox.init import NUMBER_BYTES, number_in
from crashmatrix.scenarios.processes.sandbox.view import View

NOBODY = 65534
PORT = 47011


def where(_: Channel, root: Path, journal: Path) -> tuple[str, str, str]:
    """The paths of folder and journal as the target is given them, and the current folder."""
    (root / "made").write_text(str(root))
    journal.write_text("line\n")
    return str(root), str(journal), str(Path.cwd())


def refusal(_: Channel, path: Path) -> str:
    """The error with which a file cannot be made there; empty if it can."""
    try:
        path.write_text("x")
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def listing(_: Channel, path: str) -> list[str]:
    return sorted(found.name for found in Path(path).iterdir())


def read(_: Channel, path: Path) -> str:
    return path.read_text()


def temporary(_: Channel) -> str:
    with tempfile.NamedTemporaryFile() as file:
        return str(Path(file.name).parent)


def numbers(_: Channel) -> tuple[int, int, list[int]]:
    """Its own number, its parent's, and those of all processes that it sees."""
    return (
        os.getpid(),
        os.getppid(),
        sorted(int(found.name) for found in Path("/proc").iterdir() if found.name.isdigit()),
    )


def _hide(root: Path) -> None:
    """Go on for ever, out of reach: in a session of its own, an orphan, without open files, deaf to what would end it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.closerange(0, 256)
    while True:
        (root / "alive").write_text(str(time.monotonic()))


def leave_one_behind(_: Channel, root: Path, how: str) -> int:
    if os.fork() == 0:
        _hide(root)
    while not (root / "alive").exists():
        time.sleep(0.001)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


def serve(_: Channel) -> bytes:
    """Listen on a fixed port, and answer itself over the loopback device."""
    with socket.create_server(("127.0.0.1", PORT)) as server, socket.create_connection(("127.0.0.1", PORT)) as client:
        served, _address = server.accept()
        with served:
            served.sendall(b"heard")
            return client.recv(10)


def serve_for_long(channel: Channel) -> None:
    """Hold the port until the driver answers."""
    with socket.create_server(("127.0.0.1", PORT)):
        channel.send("listening")
        channel.receive()


def devices(_: Channel) -> list[str]:
    return [name for _number, name in socket.if_nameindex()]


def become_nobody(_: Channel, root: Path, workspace: Path) -> tuple[int, str, str]:
    """Give up root permanently, and still reach the folder."""
    os.chown(root, NOBODY, NOBODY)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    (root / "mine").write_text("written")
    return os.getuid(), (root / "mine").read_text(), (workspace / "file").read_text()


def bomb(_: Channel) -> None:
    """Start more processes than a job may have, but few enough to do no harm if nobody ends them."""
    for _generation in range(10):
        os.fork()
    time.sleep(60)
    os._exit(0)


def devour(_: Channel, total: int) -> None:
    """Use this much memory, and wait."""
    kept = bytearray(total)
    for place in range(0, total, 4096):
        kept[place] = 1
    time.sleep(600)


def undo(_: Channel) -> dict[str, int]:
    """Try what a process that has all rights could do about its cell; returns the status of each attempt."""
    attempts: dict[str, Callable[[], int]] = {
        "remount": lambda: subprocess.run(["mount", "-o", "remount,rw,bind", "/"], capture_output=True).returncode,
        "unmount": lambda: subprocess.run(["umount", "/tmp"], capture_output=True).returncode,
        "mount": lambda: subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode,
        "unshare": lambda: int(ctypes.CDLL(None).unshare(0x00020000)),
        "kill init": lambda: _kill(1),
    }
    return {name: attempt() for name, attempt in attempts.items()}


def _kill(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)
    os.kill(pid, 0)
    return 0


def end_everything(_: Channel) -> None:
    """SIGKILL every process in sight."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
    os.kill(-1, signal.SIGKILL)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def make_cell_number(_: Channel, number: int) -> int:
    """Have a maker make a cell of this number; returns the number that is heard once it is empty."""
    freed, free = os.pipe()
    maker = CellMaker(free)  # Its cells end with it.
    maker.make(number).empty()
    heard = number_in(os.read(freed, NUMBER_BYTES))
    maker.close_copy()
    return heard


def recover_without_its_folder(_: Channel, root: Path) -> tuple[str, str]:
    """The verdict on a recovery that is to see a folder that is gone, and why."""
    cell = Cell.made()
    apart = Apart(cell, View(root / "gone" / "folder", visible=(Path("/usr"),)))
    verdict, why = run_checker(lambda recovered: recovered(), 60.0, apart)
    cell.close()
    return verdict.value, why


def check_a_folder_that_is_gone(_: Channel, root: Path) -> tuple[int, int]:
    """The status of a check of it, and how many more files its maker has open afterwards."""
    cell = Cell.made()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names only
    pid = cell.start(lambda: None, View(root / "gone" / "folder", visible=(Path("/usr"),)))
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    cell.empty()
    more = len(os.listdir("/proc/self/fd")) - before  # noqa: PTH208  # as above
    cell.close()
    return status, more
