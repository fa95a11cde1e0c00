"""The other threads of a process tree go on until they wait for something, while one is held at a crash point.

A snapshot is of one moment, and at that moment an acknowledgement may be on its way: the server has sent it, and the client has
not yet written its line of the journal. A crash there would excuse the server by chance. So everybody else goes on first, until
nothing moves any more. It is a moment as real as any other: the thread that is held was slow.

Nobody gets past a call that changes the folder meanwhile. Who comes to one is held there, until it is its turn.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Final

__all__ = ["LINES_MAX", "Settling"]

LINES_MAX: Final = 16
"""So many lines of the journal may a thread write while another is held. Some write for as long as the others work."""
_WAIT_SECONDS_MAX: Final = 0.05
_POLL_SECONDS: Final = 0.0002
_LATE_MAX: Final = 3
_LOOKS: Final = 2
"""How often nobody is to be seen running, one look after the other: threads wake one another between our looks."""


class Settling:
    """Waits until nobody runs. Remembers who never waits: a thread that polls or computes holds nothing up for long."""

    def __init__(self) -> None:
        self._late: Counter[int] = Counter()

    def wait(self, running: Callable[[], Collection[int]], next_call: Callable[[], bool | None]) -> None:
        """Wait until nobody runs, for some time at most.

        Args:
            running: returns the threads that run now.
            next_call: deals with a call that a thread has come to; returns None without one, else whether the time begins anew.
        """
        deadline, quiet = time.monotonic() + _WAIT_SECONDS_MAX, 0
        while quiet < _LOOKS:
            if (progress := next_call()) is not None:
                quiet = 0
                if progress:
                    deadline = time.monotonic() + _WAIT_SECONDS_MAX
            elif self._waited_for(now := running()):
                quiet = 0
                time.sleep(_POLL_SECONDS)
            else:
                quiet += 1
                self._late = Counter({thread: times for thread, times in self._late.items() if thread in now})
            if time.monotonic() > deadline:
                self._late.update(running())
                return

    def _waited_for(self, threads: Collection[int]) -> bool:
        return any(self._late[thread] < _LATE_MAX for thread in threads)
