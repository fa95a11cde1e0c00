"""Room for what a run makes on the way: folders named after this process, so that once it is gone the next run removes them.

A process of another PID namespace is not to be seen by its number. So each folder is locked, too, for as long as it is in use:
what somebody has locked is nobody's to remove. Nor is what another user made.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.util import Finalize
from pathlib import Path

import psutil

from faults.disk.removal import remove_tree, say_what_is_left

__all__ = ["OwnFolder", "own_folder", "own_sockets", "scratch_folder"]

_PREFIX = "crashmatrix-"
_SHM = Path("/dev/shm")  # noqa: S108  # only if there is room; every run has a folder of its own in it
_SHM_BYTES_MIN = 2**30
_SOCKETS_BYTES_MAX = 60


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory if there is room, else where temporary files go; also removes what killed runs left."""
    roomy = _SHM.is_dir() and os.access(_SHM, os.W_OK) and shutil.disk_usage(_SHM).free >= _SHM_BYTES_MIN
    parent = _SHM if roomy and "TMPDIR" not in os.environ else Path(tempfile.gettempdir())
    for place in {parent, _place_of_sockets()}:
        _remove_abandoned(place)
    with own_folder(parent) as scratch:
        yield scratch


class OwnFolder:
    """A new folder, until `cleanup` or the end of the block, which warn of what they cannot remove."""

    def __init__(self, parent: Path) -> None:
        # Without a link in its path: from now on, one in it is somebody else's.
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent.resolve()))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        _locked(self._lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Remove it."""
        os.close(self._lock)
        say_what_is_left(remove_tree(self.path))


def own_folder(parent: Path | None = None) -> OwnFolder:
    """A folder in ``parent``, or where temporary files go, that is known for ours should this process be killed."""
    return OwnFolder(parent or Path(tempfile.gettempdir()))


def own_sockets() -> None:
    """Have multiprocessing make its sockets where they are found should this process be killed; they go when it ends."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]  # it has no public setter
    if config.get("tempdir") is None:
        folder = own_folder(_place_of_sockets())
        config["tempdir"] = str(folder.path)
        Finalize(None, folder.cleanup, exitpriority=-100)


def _place_of_sockets() -> Path:
    """Where temporary files go; for a name that leaves no room for a socket's, which may have 107 bytes, the usual place."""
    place = Path(tempfile.gettempdir())
    return place if len(os.fsencode(place)) <= _SOCKETS_BYTES_MAX else Path("/tmp")  # noqa: S108  # mkdtemp draws the name


def _remove_abandoned(parent: Path) -> None:
    for found in parent.resolve().glob(f"{_PREFIX}[0-9]*-*"):
        with suppress(OSError):
            if not psutil.pid_exists(int(found.name.split("-")[1])) and _is_free(found):
                say_what_is_left(remove_tree(found))


def _is_free(folder: Path) -> bool:
    """Whether this user made a folder, and nobody has it locked."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.fstat(descriptor).st_uid == os.geteuid() and _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock an open folder; whether it was free. Where folders cannot be locked, it is."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
