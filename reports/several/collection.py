"""A directory of reports: one for each target of a run, or for each seed of a soak.

FILE            what is known of all of them; by it the directory is known as ours. Replaced by rename, synced
NAME/           a report (`crashmatrix.reports.store`)
run.lock        held while a run writes there
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import msgspec

from crashmatrix.reports.folder import Folder, NotAFile, ReportError
from crashmatrix.reports.lock import LOCK, RunLock
from crashmatrix.reports.validation import Invalid, checked, parsed

__all__ = ["Collection", "load"]

State = TypeVar("State")


class Collection:
    """A directory of reports, open and locked until `close`.

    Args:
        directory: made if it is not there.
        state: the name of the file by which the directory is known as ours.

    Raises:
        ReportError: it is a link, holds something else, cannot be written, or is locked by another run.
    """

    def __init__(self, directory: Path, state: str) -> None:
        self.directory, self._state = directory, state
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._folder = Folder.open(directory)
        except NotAFile:
            raise ReportError(f"{directory} is a symbolic link; name the directory itself with --report") from None
        except OSError as error:
            raise ReportError(f"{directory}: {error.strerror}; name another directory with --report") from None
        others = [name for name in self._folder.names() if name != LOCK]
        if others and state not in others:
            self._folder.close()
            raise ReportError(f"{directory} holds something else ({others[0]}); name a new directory with --report")
        try:
            self._lock = RunLock(directory)
        except OSError as error:
            self._folder.close()
            raise ReportError(
                f"{directory}: another run is writing there, or it cannot be locked ({error}); wait for its end, or name "
                "another directory with --report"
            ) from None

    def names(self) -> list[str]:
        """The names of its entries."""
        return self._folder.names()

    def load(self, kind: type[State]) -> State | None:
        """Return what is known of the reports; None if nothing was written yet. Raises ReportError."""
        return load(self._folder, self._state, kind) if self._state in self.names() else None

    def save(self, state: msgspec.Struct) -> None:
        """Replace what is known of the reports. Raises ReportError."""
        text = json.dumps(msgspec.to_builtins(state), indent=2) + "\n"  # As ASCII: a name need not be Unicode.
        self.write(self._state, text)

    def write(self, name: str, text: str) -> None:
        """Put a file in place. Raises ReportError."""
        try:
            self._folder.write(name, text.encode(errors="backslashreplace"))
        except OSError as error:
            raise ReportError(f"{self.directory}: {error.strerror}; make room there") from None

    def finished(self) -> None:
        """Record that the run has come to its end."""
        self._lock.finished()

    def close(self) -> None:
        """Let others write there."""
        self._lock.release()
        self._folder.close()


def load(folder: Folder, name: str, kind: type[State]) -> State:
    """Read a directory's file of what is known of its reports. Raises ReportError."""
    try:
        with folder.open_file(name) as file:
            return checked(parsed(file.read()), kind)
    except (OSError, Invalid) as error:
        raise ReportError(f"{folder.path}/{name}: {error}; name a new directory with --report") from None
