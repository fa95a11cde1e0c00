"""Group commit: many threads append, one of them at a time leads, and one sync makes every queued message durable.

A caller queues its message and takes the *turn* if the turn is free: then it leads. The leader takes a group from the head of
the queue, writes the group, and settles each of its entries with an id or an error. The callers of a
written group wake each other, one by one, so that the next group is on its way meanwhile. The thread that gives the turn back
wakes the first caller that still queues. This caller leads next, unless another caller was quicker; both begin at the head of
the queue. So one group is written while the next one gathers.

An interrupted waiter leaves its entry to the next leader. The waiter may have been chosen to lead, so it wakes all others; and
no caller waits to be woken by it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import TracebackType

import pyarrow as pa

__all__ = ["AppendQueue", "Entry", "Turn"]


class Entry:
    """A caller's message on its way into the log, settled once it has its id or its error."""

    __slots__ = ("_asleep", "_behind", "batch_id", "error", "forgotten", "left", "message")

    def __init__(self, message: pa.Buffer) -> None:
        self.message = message
        self.batch_id = -1
        self.error: BaseException | None = None
        self.left = self.forgotten = False
        self._behind: Entry | None = None
        self._asleep = threading.Lock()
        self._asleep.acquire()

    @property
    def settled(self) -> bool:
        """Whether the entry has its id or its error."""
        return self.batch_id >= 0 or self.error is not None

    def fail(self, error: BaseException) -> None:
        """Give it its error, and wake its caller."""
        self.error = error
        self.wake()

    def wake(self) -> None:
        """Have its caller look again, now or when it is about to sleep."""
        with contextlib.suppress(RuntimeError):  # It is awake.
            self._asleep.release()

    def sleep(self) -> None:
        """Return once woken."""
        self._asleep.acquire()

    def wake_behind(self) -> None:
        """Wake the caller that is to be woken by this one, if any."""
        behind, self._behind = self._behind, None
        if behind is not None:
            behind.wake()

    @staticmethod
    def settle_all(group: Sequence[Entry], first_id: int) -> None:
        """Give them ids from this one on, and wake the first; each wakes the next (`wake_behind`).

        Awake all at once they would only wait for Python's global lock, and the next group for the leader who wakes them.
        """
        for before, entry in pairwise(group):
            before._behind = entry  # First: a caller that sees its id may return at once.
        for batch_id, entry in enumerate(group, first_id):
            entry.batch_id = batch_id
        for entry in group if any(entry.left for entry in group) else group[:1]:
            entry.wake()


class Turn:
    """A lock that its holder may take again; the last to give it back calls ``returned`` afterwards."""

    def __init__(self, returned: Callable[[], None]) -> None:
        self._lock, self._returned = threading.RLock(), returned
        self._depth = 0

    def take(self, *, wait: bool = True) -> bool:
        """Take the turn; False if another thread has it and ``wait`` is False."""
        if not self._lock.acquire(blocking=wait):
            return False
        self._depth += 1
        return True

    def give_back(self) -> None:
        """Give it back, as often as it was taken."""
        self._depth -= 1
        last = not self._depth
        self._lock.release()
        if last:  # Only now: a caller that queued and then found the turn taken is still seen here.
            self._returned()

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.give_back()


class AppendQueue:
    """The queue and the turn. ``with queue.turn:`` keeps every other thread from writing; the same thread may take it again."""

    def __init__(self) -> None:
        self.turn = Turn(self._wake_next)
        self._waiting: deque[Entry] = deque()

    def settle(self, message: pa.Buffer, write_next_group: Callable[[], None]) -> Entry:
        """Queue a message and return once it is settled.

        Args:
            write_next_group: takes a group from the queue (`next_group`), writes it and settles its entries. Called with the turn
                held, by this thread or by another one that queues.

        Raises: what ``write_next_group`` raises, in the thread that calls it.
        """
        entry = Entry(message)
        self._waiting.append(entry)
        try:
            while not entry.settled:
                if self.turn.take(wait=entry.forgotten):
                    self._write_unless_settled(entry, write_next_group)
                else:
                    entry.sleep()
        except BaseException:
            entry.left = True
            for other in list(self._waiting):
                other.wake()
            raise
        finally:
            entry.wake_behind()
        return entry

    def _write_unless_settled(self, entry: Entry, write_next_group: Callable[[], None]) -> None:
        try:
            if not entry.settled:
                write_next_group()
        finally:
            self.turn.give_back()

    def _wake_next(self) -> None:
        for entry in list(self._waiting):
            if not entry.left:
                entry.wake()
                return

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
        """Empty the queue: each waiting caller will lead, and get the error that says why nothing can be written."""
        while self._waiting:
            entry = self._waiting.popleft()
            entry.forgotten = True
            entry.wake()
