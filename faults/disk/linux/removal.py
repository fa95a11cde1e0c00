"""Removing a folder that a hostile program had: nothing outside it changes, whatever it was made into.

It is here, and not with the experiments, because the crash images of `crashmatrix.faults.disk.posix` are removed by it, too.

- **Links** are removed, never followed; nothing is removed through one in the path of the folder either (`folders`).
- **Mounts** are never entered. One that is found below the folder, or over it, is detached first. It is known for the run's own:
  the folder is new, made by the run, so whatever is mounted in it was mounted since. Detaching changes none of the files that it
  shows. The mount is made private first, recursively: otherwise, detaching a recursive bind mount would detach the originals of
  what is mounted in it. Only mounts of this process's namespace are seen, so no others are detached. One that the kernel does
  not let go (no root) is left with all it shows, and its folder with it.
- **Modes** are changed of directories alone, by descriptor. A file's are its inode's, and that may have another name outside.
- **Immutable files** are left, since that flag is the inode's as well.

Depth, names and lengths of paths do not matter. `remove_tree` raises nothing; it says what it left.
"""

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from crashmatrix.faults.disk.errors import SystemCallFailed
from crashmatrix.faults.disk.linux.folders import Cursor, NotAFolder, opened_folder
from crashmatrix.faults.disk.linux.kernel import make_propagation_private, unmount

__all__ = ["remove_tree", "say_what_is_left"]

_LOGGER = logging.getLogger("crashmatrix.faults.disk")
_MOUNTS_MAX = 1000
"""As many mounts, one over the other, are detached from one place."""


def remove_tree(path: Path) -> list[str]:
    """Remove a folder that this run has made, or whatever is there by now; returns what was left, and why."""
    removal = _Removal(path.parent)
    try:
        with opened_folder(path.parent, 0) as folder, Cursor(folder) as cursor:
            removal.remove(cursor, path.name)
    except FileNotFoundError:
        pass
    except OSError as error:
        removal.leave(path.name, error)
    return removal.left


def say_what_is_left(left: Sequence[str]) -> None:
    """Warn of what could not be removed, in one line; say nothing if all was."""
    if left:
        more = f" and {len(left) - 1:,} more" if left[1:] else ""
        _LOGGER.warning("could not remove %s%s; remove it by hand", left[0], more)


class _Removal:
    def __init__(self, above: Path) -> None:
        self._above = above
        self.left: list[str] = []

    def leave(self, path: str, error: OSError) -> None:
        self.left.append(f"{self._above / path} ({error.strerror})".encode(errors="backslashreplace").decode())

    def remove(self, cursor: Cursor, name: str) -> None:
        """Remove what the cursor's folder has under this name; one loop, since a tree may be deeper than Python's stack."""
        folders = [[name]]
        while True:
            if folders[-1]:
                name = folders[-1].pop()
                if self._enter(cursor, name):
                    folders.append(self._empty(cursor))
                continue
            folders.pop()
            if not folders:
                return
            name = cursor.up()
            try:
                os.rmdir(name, dir_fd=cursor.descriptor)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or not self.left:  # What keeps it from being empty was noted.
                    self._leave_at(cursor, name, error)

    def _leave_at(self, cursor: Cursor, name: str, error: OSError) -> None:
        self.leave("/".join((*cursor.names, name)), error)

    def _enter(self, cursor: Cursor, name: str) -> bool:
        """Enter a folder; whether it is one. Anything else is removed."""
        refused: OSError | None = None
        for _ in range(_MOUNTS_MAX):
            try:
                cursor.down(name)
                return True
            except FileNotFoundError:
                return False
            except NotAFolder as error:
                refused = error
                if error.what != "a mount":
                    self._unlink(cursor, name)
                    return False
                if not _detached(cursor, name):
                    break
            except PermissionError as error:
                if refused or not _made_accessible(cursor, name):
                    refused = error
                    break
                refused = error
            except OSError as error:
                refused = error
                break
        assert refused
        self._leave_at(cursor, name, refused)
        return False

    def _empty(self, cursor: Cursor) -> list[str]:
        """Remove what is no folder from the one the cursor is in; returns the folders."""
        mode = cursor.state.st_mode
        if mode & stat.S_IRWXU != stat.S_IRWXU:
            with contextlib.suppress(OSError):
                os.fchmod(cursor.descriptor, stat.S_IMODE(mode) | stat.S_IRWXU)
        try:
            with os.scandir(cursor.descriptor) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            self._leave_at(cursor, "", error)
            return []
        for name, is_folder in found:
            if not is_folder:
                self._unlink(cursor, name)
        return [name for name, is_folder in found if is_folder]

    def _unlink(self, cursor: Cursor, name: str) -> None:
        for _ in range(_MOUNTS_MAX):
            try:
                os.unlink(name, dir_fd=cursor.descriptor)
            except FileNotFoundError:
                return
            except OSError as error:
                if error.errno == errno.EBUSY and _detached(cursor, name):
                    continue
                self._leave_at(cursor, name, error)
            return


def _detached(cursor: Cursor, name: str) -> bool:
    """Detach the mount that is to be seen at this name; whether it worked. A path to the very place: no race, no link."""
    with contextlib.suppress(OSError, SystemCallFailed):
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=cursor.descriptor)
        try:
            exactly = Path(f"/proc/self/fd/{place}")
            make_propagation_private(exactly)
            unmount(exactly, detach=True)
        finally:
            os.close(place)
        return True
    return False


def _made_accessible(cursor: Cursor, name: str) -> bool:
    """Let the owner read a directory again; whether it worked."""
    with contextlib.suppress(OSError):
        place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=cursor.descriptor)
        try:
            os.chmod(f"/proc/self/fd/{place}", stat.S_IRWXU)  # noqa: PTH101  # fchmod does not take such a descriptor
        finally:
            os.close(place)
        return True
    return False
