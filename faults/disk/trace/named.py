"""A change in the words of a user of files: which file and bytes, which directory's names."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "ATTRIBUTE",
    "DATA",
    "IN_PLACE",
    "JOURNAL",
    "METADATA",
    "NAMES",
    "OUTSIDE",
    "SIZE",
    "UNKNOWN",
    "Named",
    "folder_in_words",
    "in_words",
    "is_about_folder",
    "is_outside",
]

DATA, SIZE, NAMES, ATTRIBUTE = "data", "size", "names", "attribute"
METADATA, JOURNAL, UNKNOWN = "metadata", "journal", "unknown"

IN_PLACE = ", in place of the one before"
"""The end of the words for a rename over an existing name."""

OUTSIDE = "(outside)"
"""The beginning of a path that is on the disk, and not in the directory under test."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """One change, named.

    Attributes:
        kind: ``data`` or ``size`` of a file, ``names`` in a directory, an ``attribute`` of either, ``metadata`` of a filesystem,
            its ``journal``, or ``unknown``: no file has that part of the disk.
        path: of the file or directory when it changed, relative to the directory under test, which is ``.`` itself; empty
            if there is none to name.
        now: its path at the moment of the power cut; empty if it has none there.
        start, stop: the bytes of the file, for `data`; for `size`, `stop` is the size.
        what: how names or an attribute changed; the kind of metadata.
    """

    kind: str
    path: str = ""
    now: str = ""
    start: int = 0
    stop: int = 0
    what: str = ""

    @property
    def text(self) -> str:
        """The change in one line."""
        match self.kind:
            case "data":
                return f"{self.path}, {_range(self.start, self.stop)}"
            case "size":
                return f"{self.path}, its size: {self.stop:,} byte{'' if self.stop == 1 else 's'}"
            case "attribute":
                return f"{_STORE_FOLDER if self.path == '.' else self.path}: {self.what}"
            case "names":
                return f"{folder_in_words(self.path)}: {self.what}"
            case "journal":
                return f"the filesystem's journal: {self.what}"
            case "metadata":
                return f"metadata of the filesystem: {self.what}" if self.what else "metadata of the filesystem"
        return f"a part of the disk that no file has{f': {self.what}' if self.what else ''}"


_STORE_FOLDER = "the store's folder"


def folder_in_words(path: str) -> str:
    """A directory by its path; the directory under test is the store's folder."""
    return _STORE_FOLDER if path == "." else f"directory {path}"


def is_outside(change: Named) -> bool:
    """Whether a change is of a file on the disk that is not in the directory under test."""
    return change.path.startswith(OUTSIDE)


def is_about_folder(words: str) -> bool:
    """Whether words begin with a directory, as `folder_in_words` names it."""
    return words.startswith((_STORE_FOLDER, "directory "))


def in_words(changes: Iterable[Named]) -> list[str]:
    """One line for each file or other subject, in order of first appearance; ranges of one file that touch are joined."""
    lines: dict[tuple[str, str], list[Named]] = {}
    for change in changes:
        key = (change.kind, change.path) if change.kind == DATA else (change.kind, change.text)
        parts = lines.setdefault(key, [])
        parts.append(change)
    return [_one(parts) for parts in lines.values()]


def _one(parts: list[Named]) -> str:
    if parts[0].kind != DATA:
        return parts[0].text
    runs: list[list[int]] = []
    for start, stop in sorted((part.start, part.stop) for part in parts):
        if runs and start <= runs[-1][1]:
            runs[-1][1] = max(runs[-1][1], stop)
        else:
            runs.append([start, stop])
    if len(runs) == 1:
        return f"{parts[0].path}, {_range(*runs[0])}"
    shown = ", ".join(f"{start:,} to {stop - 1:,}" for start, stop in runs[:4])
    left = len(runs) - 4
    more = f" and {left:,} range{'' if left == 1 else 's'} more" if left > 0 else ""
    return f"{parts[0].path}, bytes {shown}{more}"


def _range(start: int, stop: int) -> str:
    return f"byte {start:,}" if stop == start + 1 else f"bytes {start:,} to {stop - 1:,}"
