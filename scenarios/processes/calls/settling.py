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
from dataclasses import dataclass
from typing import Final

__all__ = ["LINES_MAX", "Passed", "Settling"]

LINES_MAX: Final = 16
"""So many lines of the journal may a thread write while another is held. Some write for as long as the others work."""
_WAIT_SECONDS_MAX: Final = 0.1
_IN_VAIN_SECONDS_MAX: Final = 0.4
"""How long a run may wait in vain, in all. Its time is limited, and processes may come and go without end."""
_SHORT_SECONDS: Final = 0.001
"""How long it waits from then on."""
_POLL_SECONDS: Final = 0.0002
_LATE_MAX: Final = 2
_LOOKS: Final = 2
"""How often nobody is to be seen running, one look after the other: threads wake one another between our looks."""


@dataclass(frozen=True)
class Passed:
    """A call that was dealt with while another thread is held: its thread, and whether it wrote to the journal."""

    thread: int
    wrote_line: bool


class Settling:
    """Waits until nobody runs. Remembers who never waits: a thread that polls, prints or computes is not waited for again."""

    def __init__(self) -> None:
        self._late: Counter[int] = Counter()
        self._in_vain = 0.0

    def wait(self, running: Callable[[], Collection[int]], next_call: Callable[[], Passed | None]) -> None:
        """Wait until nobody runs, for some time at most.

        Args:
            running: returns the threads that run now.
            next_call: deals with a call that a thread has come to, and returns it; None if there is no call.
        """
        begun, quiet, busy = time.monotonic(), 0, set[int]()
        while quiet < _LOOKS:
            passed = next_call()
            busy.update({passed.thread} if passed else ())
            if passed and (passed.wrote_line or not self._never_waits(passed.thread)):
                quiet, begun = 0, time.monotonic() if passed.wrote_line else begun
            elif all(map(self._never_waits, now := running())):
                quiet += 1
                self._late = Counter({thread: self._late[thread] for thread in {*now, *busy}})
            else:
                quiet = 0
                time.sleep(_POLL_SECONDS)
            waited = time.monotonic() - begun
            if waited > (_WAIT_SECONDS_MAX if self._in_vain < _IN_VAIN_SECONDS_MAX else _SHORT_SECONDS):
                self._late.update({*running(), *busy})
                self._in_vain += waited
                return

    def _never_waits(self, thread: int) -> bool:
        return self._late[thread] >= _LATE_MAX
