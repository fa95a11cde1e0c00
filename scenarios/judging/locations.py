"""The places where failpoints are declared, as paths that a reader of the report can use."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from crashmatrix import faults

__all__ = ["declared_places", "relative"]

_OURS = Path(faults.__file__).parents[2]


def relative(location: str) -> str:
    """Return ``file:line`` relative to the current directory, or else to the folder that Python found the file in.

    Files of crashmatrix itself begin with its name, wherever it is installed.
    """
    path, colon, line = location.rpartition(":")
    if not colon or not Path(path).is_absolute():
        return location
    found_in = sorted((Path(entry) for entry in sys.path if entry), key=lambda entry: -len(entry.parts))
    for folder in (_OURS, Path.cwd(), *found_in):
        if Path(path).is_relative_to(folder):
            return f"{Path(path).relative_to(folder)}:{line}"
    return f"{Path(path).name}:{line}"


def declared_places() -> Mapping[str, str]:
    """Return where each failpoint of this process is declared, by name."""
    return {point.name: relative(point.location) for point in faults.catalogue()}
