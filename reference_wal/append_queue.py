"""Group commit: many threads append, one of them at a time leads, and one sync makes durable what all of them queued.

A caller queues its message, then waits for the *turn*. Whoever has it and finds its own entry not yet settled leads: takes a
group from the head of the queue, writes it, and settles each entry of it with an id or an error. Most of those who waited
find theirs settled when their turn comes, and go. Nobody hands over anything, so an interrupted waiter leaves nothing
undone: its entry is settled by the next leader.

Whatever else changes the log takes the turn as well, and so never meets a half-written group.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import pyarrow as pa

__all__ = ["AppendQueue", "Entry"]


class Entry:
    """One caller's message on its way into the log. It is settled once it has its id or its error."""

    __slots__ = ("batch_id", "error", "message")

    def __init__(self, message: pa.Buffer) -> None:
        self.message = message
        self.batch_id = -1
        self.error: BaseException | None = None


class AppendQueue:
    """The queue and the turn. ``with queue.turn:`` keeps everybody else from writing; the same thread may take it again."""

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self._waiting: deque[Entry] = deque()

    def settle(self, message: pa.Buffer, lead: Callable[[], None]) -> Entry:
        """Queue a message and return once it is settled, by ``lead``, called with the turn held, here or elsewhere.

        Raises: what ``lead`` raises, in the thread that leads.
        """
        entry = Entry(message)
        self._waiting.append(entry)
        with self.turn:
            while entry.batch_id < 0 and entry.error is None:
                lead()
        return entry

    def next_group(self, room_bytes: int, *, seal_bytes: int, entries_max: int) -> list[Entry]:
        """Take from the head, in order, entries until they fill the room, but at least one; with the turn held."""
        group = [self._waiting.popleft()]
        while self._waiting and len(group) < entries_max:
            room_bytes -= len(group[-1].message) + seal_bytes
            if room_bytes <= 0:
                break
            group.append(self._waiting.popleft())
        return group

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Forget who waits: each will lead, and learn why there is nothing to be led."""
        self._waiting.clear()
