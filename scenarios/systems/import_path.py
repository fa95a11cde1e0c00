"""The import path for targets: after the standard library, so that a file `json.py` beside a target does no harm."""

from __future__ import annotations

import sys
import sysconfig

__all__ = ["look_in"]

_LIBRARY = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}


def look_in(folder: str) -> None:
    """Import from this folder, too: before installed packages, after the standard library."""
    if folder in sys.path:
        return
    library = [at for at, entry in enumerate(sys.path) if entry.removesuffix("/lib-dynload") in _LIBRARY]
    sys.path.insert(max(library, default=-1) + 1, folder)
