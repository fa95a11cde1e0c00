"""A change in the words of a user of files: which file and bytes, which directory's names."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "DATA",
    "JOURNAL",
    "METADATA",
    "NAMES",
    "SIZE",
    "UNKNOWN",
    "Named",
    "folder_in_words",
    "in_words",
    "is_about_folder",
]

DATA, SIZE, NAMES = "data", "size", "names"
METADATA, JOURNAL, UNKNOWN = "metadata", "journal", "unknown"


@dataclass(frozen=True, kw_only=True)
class Named:
    """One change, named.

    Attributes:
        kind: ``data`` or ``size`` of a file, ``names`` in a directory, ``metadata`` of a filesystem, its ``journal``, or
            ``unknown``: no file has that part of the disk.
        path: of the file or directory when it changed, relative to the directory under test, which is ``.`` itself; empty
            if there is none to name.
        now: its path at the moment of the power cut; empty if it has none there.
        start, stop: the bytes of the file, for `data`; for `size`, `stop` is the size.
        what: how names changed; the kind of metadata.
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
                return f"{self.path}, bytes {self.start:,} to {self.stop - 1:,}"
            case "size":
                return f"{self.path}, its size: {self.stop:,} bytes"
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
    shown = ", ".join(f"{start:,} to {stop - 1:,}" for start, stop in runs[:4])
    more = f" and {len(runs) - 4:,} ranges more" if len(runs) > 4 else ""
    return f"{parts[0].path}, bytes {shown}{more}"
