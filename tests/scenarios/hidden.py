"""Makes this interpreter, and those it starts, believe that some packages are not installed: ``$HIDDEN_PACKAGES``.

Copied to a folder in PYTHONPATH as `sitecustomize.py`, it runs before anything else.
"""

import os
import sys
from importlib import metadata
from typing import Any

HIDDEN = os.environ.get("HIDDEN_PACKAGES", "").split()

EVERY = metadata.DistributionFinder.Context()


class Without:
    """A finder that does not find what is hidden; neither do `importlib.util.find_spec` and `importlib.metadata`."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        return None if name.partition(".")[0] in HIDDEN else self._finder.find_spec(name, path, target)

    def find_distributions(self, context: Any = EVERY) -> Any:
        find = getattr(self._finder, "find_distributions", lambda _: ())
        return (found for found in find(context) if found.name not in HIDDEN)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
