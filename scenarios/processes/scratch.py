"""Scratch folders of a run. Any later run may remove them once the process that made them has ended.

A folder is ours to remove if it holds the file `_LOCK_NAME`, which names this very folder, and no process holds a lock on that
file. The folder's name and a process id prove nothing: other programs and other PID namespaces use the same ones.

Order in which a folder is made (`OwnFolder`); a SIGKILL in between leaves an empty folder, which nobody removes:
(1) mkdtemp; (2) the lock file, under a name that nobody looks for, locked and written; (3) its rename to `_LOCK_NAME`. So it is
never seen unlocked while its maker lives.

Order in which a folder is removed, all of it under the lock: (1) everything but the lock file, (2) the lock file, (3) the
folder. So the next run finishes a removal that was cut short, and no two runs remove at once.

The lock is flock(2): it ends with the process in any case, and is seen across PID and mount namespaces. The fork server and
its jobs run another program (exec closes the file), so jobs that outlive a killed run do not hold the lock. A plain fork of
this process would hold it. The folder then stays as long as the copy does: too long rather than too short.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from pathlib import Path

from crashmatrix.faults.disk.linux.folders import opened_folder
from crashmatrix.faults.disk.linux.removal import remove_tree, say_what_is_left

__all__ = ["OwnFolder", "own_folder", "own_sockets", "remove_own", "scratch_folder"]

_PREFIX = "crashmatrix-"
_LOCK_NAME = ".crashmatrix-lock"
_LOCK_BYTES_MAX = 512
_SHM = Path("/dev/shm")  # noqa: S108  # only if there is room; every run has a folder of its own in it
_SHM_BYTES_MIN = 2**30
_SOCKETS_BYTES_MAX = 60
_made: list[tuple[Path, int]] = []  # With the process each is of; one interrupt can keep it from removing them.


class OwnFolder:
    """A folder of this process, locked as long as it lives. Removed by `cleanup`, at the end of the block or the process."""

    def __init__(self, parent: Path | None) -> None:
        # Without a link in its path: from now on, one in it is somebody else's.
        place = (parent or Path(tempfile.gettempdir())).resolve()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        try:
            held = _lock_new(self.path)
        except OSError:
            remove_tree(self.path)
            raise
        _made.append((self.path, os.getpid()))
        self._finalizer = weakref.finalize(self, _remove_own, self.path, held, os.getpid())

    def cleanup(self) -> None:
        """Remove it with everything in it."""
        self._finalizer()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.cleanup()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder in memory if there is room, else where temporary files go; also removes what killed runs left."""
    roomy = _SHM.is_dir() and os.access(_SHM, os.W_OK) and shutil.disk_usage(_SHM).free >= _SHM_BYTES_MIN
    parent = _SHM if roomy and "TMPDIR" not in os.environ else Path(tempfile.gettempdir())
    for place in {parent, _place_of_sockets()}:
        _remove_abandoned(place)
    with own_folder(parent) as scratch:
        yield scratch


def own_folder(parent: Path | None) -> OwnFolder:
    """A folder in ``parent``, or where temporary files go, that is known for ours should this process be killed."""
    return OwnFolder(parent)


def remove_own() -> None:
    """Remove what an interrupted clean-up has left of this process's folders; call it last."""
    for folder, owner in _made:
        if owner == os.getpid():
            _remove(folder)


def own_sockets() -> None:
    """Have multiprocessing make its sockets where they are found should this process be killed; they go when it ends."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]  # it has no public setter
    if config.get("tempdir") is None:
        folder = OwnFolder(_place_of_sockets())
        config["tempdir"] = str(folder.path)
        Finalize(None, folder.cleanup, exitpriority=-100)


def _place_of_sockets() -> Path:
    """Where temporary files go; for a name that leaves no room for a socket's, which may have 107 bytes, the usual place."""
    place = Path(tempfile.gettempdir())
    return place if len(os.fsencode(place)) <= _SOCKETS_BYTES_MAX else Path("/tmp")  # noqa: S108  # mkdtemp draws the name


def _content(name: str, inode: int) -> bytes:
    """The content of this very folder's lock file: a copy of the folder has another inode, a renamed one another name."""
    return b"scratch of crashmatrix, removed once no process locks this file: %s %d\n" % (os.fsencode(name), inode)


def _lock_new(folder: Path) -> int:
    """Lock a new folder; returns the descriptor that holds the lock, -1 where files cannot be locked."""
    new = folder / f"{_LOCK_NAME}.new"
    held = os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # Some network filesystems cannot. Without the file nobody ever takes the folder for abandoned.
        os.close(held)
        new.unlink()
        return -1
    os.write(held, _content(folder.name, folder.stat().st_ino))
    new.rename(folder / _LOCK_NAME)
    return held


def _remove_own(folder: Path, held: int, owner: int) -> None:
    if os.getpid() == owner:  # Not in a forked copy.
        _remove(folder)
        if held >= 0:
            os.close(held)


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders in ``parent`` that killed runs of this user have left. Everything else there is left alone."""
    try:
        names = [entry.name for entry in os.scandir(parent) if entry.name.startswith(_PREFIX)]
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError), _abandoned(parent / name) as ours:
            if ours:
                _remove(parent / name)


@contextmanager
def _abandoned(folder: Path) -> Iterator[bool]:
    """Whether a folder is ours to remove; if so, it is locked for the block. Raises OSError if this cannot be determined."""
    with contextlib.ExitStack() as stack:
        within = _opened(stack, folder, os.O_DIRECTORY)
        seen, outside = os.fstat(within), folder.parent.stat()
        file = os.stat(_LOCK_NAME, dir_fd=within, follow_symlinks=False)
        mine = {seen.st_uid, file.st_uid} == {os.geteuid()}
        if not mine or seen.st_dev != outside.st_dev or not stat.S_ISREG(file.st_mode):
            yield False
            return
        lock = _opened(stack, _LOCK_NAME, os.O_NONBLOCK, within)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: its maker lives, or another run removes it.
        same = os.path.samestat(seen, folder.lstat()) and os.path.samestat(os.fstat(lock), _named(within))
        yield same and os.pread(lock, _LOCK_BYTES_MAX, 0) == _content(folder.name, seen.st_ino)


def _opened(stack: contextlib.ExitStack, path: Path | str, flags: int, within: int | None = None) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=within)
    stack.callback(os.close, descriptor)
    return descriptor


def _named(within: int) -> os.stat_result:
    return os.stat(_LOCK_NAME, dir_fd=within, follow_symlinks=False)


def _remove(folder: Path) -> None:
    """Remove a folder that is ours and locked. Where something in it cannot be removed, the lock file stays, too."""
    left: list[str] = []
    with (
        contextlib.suppress(OSError),
        opened_folder(folder) as within,
    ):  # Else there is something else by now, or nothing.
        for name in os.listdir(within):  # noqa: PTH208  # of a descriptor
            left += remove_tree(folder / name) if name != _LOCK_NAME else []
    say_what_is_left(left or remove_tree(folder))
