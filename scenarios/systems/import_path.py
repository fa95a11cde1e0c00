"""The import path for targets: after the standard library, so that a file `json.py` beside a target does no harm."""

from __future__ import annotations

import sys
import sysconfig

__all__ = ["look_in", "path_with"]

_LIBRARY = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}


def look_in(folder: str) -> None:
    """Import from this folder, too: before installed packages, after the standard library."""
    sys.path[:] = path_with(folder)


def path_with(folder: str) -> list[str]:
    """Return the import path that `look_in` would make."""
    if folder in sys.path:
        return [*sys.path]
    library = [at for at, entry in enumerate(sys.path) if entry.removesuffix("/lib-dynload") in _LIBRARY]
    after = max(library, default=-1) + 1
    return [*sys.path[:after], folder, *sys.path[after:]]
