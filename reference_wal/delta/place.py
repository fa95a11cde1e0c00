"""Where a Delta table may lie: at a path that deltalake takes for what it is."""

from __future__ import annotations

import re
from pathlib import Path

from crashmatrix.reference_wal.errors import InvalidInput

__all__ = ["checked_place"]

_TAKEN_FOR_OTHERS = re.compile(r"%[0-9A-Fa-f]{2}|\\|[\x00-\x1f]")


def checked_place(path: Path) -> Path:
    """Return the absolute path, which stays what it is when the process changes its folder.

    Raises:
        InvalidInput: deltalake would read another folder. It takes ``%20`` for a space and a backslash for a slash, in a path as
            well as in a ``file://`` URI, and no control characters (seen with deltalake 1.6).
    """
    absolute = path.absolute()
    if found := _TAKEN_FOR_OTHERS.search(str(absolute)):
        raise InvalidInput(
            f"{str(absolute)!r} has {found[0]!r}, which deltalake takes for another path; rename the folder"
        )
    return absolute
