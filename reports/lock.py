"""`run.lock` in a report directory: one run at a time writes there, and an interrupted run is recognised.

    flock(2) held       a run writes the report now; the kernel releases the lock when the process dies, however it dies
    not empty           a run has begun and not finished: the other files may be an earlier run's report
    empty               the report is finished, or the run could not begin and has changed nothing

The file stays: removing it would let two runs lock two files of one name.
"""

from __future__ import annotations

import fcntl
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["LOCK", "RunLock", "unfinished"]

LOCK = "run.lock"

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # Never follow a link, never wait for a pipe.
_NOTE_BYTES_MAX = 200


class RunLock:
    """The lock on a report directory, held until `release`.

    Raises BlockingIOError: another run holds it. Raises OSError: there can be no such file.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | _FLAGS, 0o644)
        try:
            found = os.fstat(self._descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise FileExistsError(0, f"{LOCK} is not a file of its own")
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"begun {now} by process {os.getpid()}\n".encode(), 0)
        except BaseException:
            os.close(self._descriptor)
            raise

    def finished(self) -> None:
        """Record that the report is complete, or unchanged."""
        os.ftruncate(self._descriptor, 0)

    def release(self) -> None:
        """Let others write there."""
        os.close(self._descriptor)


def unfinished(directory: Path) -> str:
    """Return why a report directory cannot be read now, and what to do; empty if it can."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | _FLAGS)
    except OSError:
        return ""
    try:
        if not os.pread(descriptor, _NOTE_BYTES_MAX, 0):
            return ""
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return "a run is writing its report there now; wait for its end"
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return "the last run there was cut short before its report was written; go on with crashmatrix run --resume, or run again"
