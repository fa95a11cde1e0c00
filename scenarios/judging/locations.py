"""The places where failpoints are declared, as paths that a reader of the report can use."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from crashmatrix import faults

__all__ = ["declared_places", "raised_at", "relative"]

_OURS = Path(faults.__file__).parents[2]
_FRAME = re.compile(r'File "(.+)", line (\d+), in ')
_LIBRARIES = (sysconfig.get_path("stdlib") + os.sep, f"{Path(faults.__file__).parents[1]}{os.sep}", "<")
_INSTALLED = {"site-packages", "dist-packages"}


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


def raised_at(traceback: str) -> str:
    """Return ``file:line`` of the target's innermost frame in a traceback, past Python's and other libraries; else empty."""
    frames = [(path, line) for path, line in _FRAME.findall(traceback) if not path.startswith(_LIBRARIES)]
    own = [frame for frame in frames if not _INSTALLED & {*Path(frame[0]).parts}] or frames
    return relative(":".join(own[-1])) if own else ""


def declared_places() -> Mapping[str, str]:
    """Return where each failpoint of this process is declared, by name."""
    return {point.name: relative(point.location) for point in faults.catalogue()}
