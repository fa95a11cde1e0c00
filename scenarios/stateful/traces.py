"""The recordings of a machine's runs: those of the last failures are kept, all others are removed when their run ends.

Hypothesis runs a failing sequence again: once to be sure, and once more to report it. With its recordings it meets the same crash
states. In between it tries other sequences, and the simplest failure is seldom the last one. So several hundred are kept.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Collection
from pathlib import Path

from hypothesis.errors import HypothesisException, StopTest

__all__ = ["Traces", "fails"]

_FAILURES_MAX = 500
"""How many failures are kept. To explain one, Hypothesis tries as many variations of it."""


class Traces:
    """The recordings in a folder; one is named by what was done in it, so that several runs may use it."""

    def __init__(self, folder: Path, failures_max: int = _FAILURES_MAX) -> None:
        self.folder = folder
        self._failures = deque[frozenset[Path]](maxlen=failures_max)

    def path(self, name: str) -> Path:
        """Return the file of a recording, which may be there already."""
        return self.folder / f"{name}.trace"

    def ended(self, used: Collection[Path], *, failed: bool) -> None:
        """Note that a run has ended which used these recordings; remove those that no failure needs."""
        gone = set(used)
        if failed:
            if len(self._failures) == self._failures.maxlen:
                gone |= self._failures[0]
            self._failures.append(frozenset(used))
        for path in gone.difference(*self._failures):
            path.unlink(missing_ok=True)


def fails() -> bool:
    """Whether an error is being raised that Hypothesis takes for a failure: any but its own, which end a run early."""
    error = sys.exc_info()[1]
    return error is not None and not isinstance(error, (StopTest, HypothesisException))
