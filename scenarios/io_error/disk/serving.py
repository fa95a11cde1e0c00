"""Which recordings serve for several faults: `once`, `twice` and `on` of one error at one request.

They begin with the same answer. A recording knows how many requests of the class came from the failed one on, until its faults
ended. If another fault would have failed as many of them, each got the answer that it would have got then, so its own recording
would be the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from crashmatrix.scenarios.io_error.faults import RequestFault

__all__ = ["Served", "Serving", "alike"]

_GROUPS_MAX = 8


class Served(Protocol):
    """The yield of a recording. ``since`` counts the requests of the fault's class from the failed one on; 0 if unknown."""

    since: int


S = TypeVar("S", bound=Served)


class Serving(Generic[S]):
    """The recordings of the latest faults."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, int, str], list[tuple[str, S]]] = {}

    def of(self, fault: RequestFault, make: Callable[[], S]) -> tuple[S, bool]:
        """Return what a recording with a fault yields, and whether one that was made before serves."""
        made = self._groups.setdefault((fault.calls, fault.number, fault.error), [])
        for times, known in made:
            if alike(times, fault.times, known.since):
                return known, True
        if len(self._groups) > _GROUPS_MAX:
            del self._groups[next(iter(self._groups))]
        found = make()
        if found.since:
            made.append((fault.times, found))
        return found, False


def alike(times: str, other: str, since: int) -> bool:
    """Whether two faults answer so many requests alike."""
    return _failed(times, since) == _failed(other, since)


def _failed(times: str, since: int) -> int:
    return since if times == "on" else min(since, 2 if times == "twice" else 1)
