"""Removing a folder that a hostile program could change: nothing outside the folder changes, whatever the program made of it.

This module is here, and not with the experiments, because it also removes the crash images of `crashmatrix.faults.disk.posix`.

- **Links** are removed, never followed; nothing is removed through one in the path of the folder either (`folders`).
- **Mounts** are never entered. A mount below the folder, or over it, is detached first. It belongs to the run: the run made the
  folder new, so everything mounted there was mounted since. Detaching changes none of the files that the mount
  shows. The mount is first made private, recursively: otherwise, detaching a recursive bind mount would detach the originals of
  the mounts in it. Only mounts of this process's namespace are visible, so no others are detached. A mount that cannot be
  detached (no root) is left with everything it shows, and its folder with it.
- **Modes** change on directories only, by descriptor. A file's mode belongs to its inode, which may have another name outside.
- **Immutable files** are left, since this flag belongs to the inode as well.

Depth, names and lengths of paths do not matter. `remove_tree` raises nothing; it returns what it left.
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
"""How many mounts, one over the other, are detached from one place."""


def remove_tree(path: Path) -> list[str]:
    """Remove a folder that this run has made, or anything else that is there by now; return what was left, and why."""
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
        """Remove this name from the cursor's folder; in one loop, since a tree may be deeper than Python's stack."""
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
                if error.errno != errno.ENOTEMPTY or not self.left:  # The reason why it is not empty was noted.
                    self._leave_at(cursor, name, error)

    def _leave_at(self, cursor: Cursor, name: str, error: OSError) -> None:
        self.leave("/".join((*cursor.names, name)), error)

    def _enter(self, cursor: Cursor, name: str) -> bool:
        """Enter a folder and return True. Remove anything else."""
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
        """Remove everything but folders from the cursor's folder; return the folders."""
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
    """Detach the mount at this name; return whether it worked. The path leads by descriptor: no race, no link."""
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
    """Let the owner read a directory again; return whether it worked."""
    with contextlib.suppress(OSError):
        place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=cursor.descriptor)
        try:
            os.chmod(f"/proc/self/fd/{place}", stat.S_IRWXU)  # noqa: PTH101  # fchmod does not take such a descriptor
        finally:
            os.close(place)
        return True
    return False
