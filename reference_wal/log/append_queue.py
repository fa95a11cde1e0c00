"""Group commit: many threads append, one of them at a time leads, and one sync makes every queued message durable.

A caller queues its message and takes the *turn* if the turn is free: then it leads. The leader takes a group from the head of
the queue, writes the group, and settles each of its entries with an id or an error. The callers of a written group wake each
other, one by one, so that the next group is on its way meanwhile. The thread that gives the turn back wakes the first caller
that still queues. This caller leads next, unless another caller was quicker; both begin at the head of the queue. So one group
is written while the next one gathers.

Why no caller sleeps forever. A wake-up is kept until its caller sleeps next, and a woken caller always looks again. So each
caller needs one wake-up after the last change that concerns it:

- It queues. It found the turn taken after it had queued. The thread that has the turn looks at the queue after giving it back,
  and wakes the first caller, which leads, unless another thread has the turn by now and will look in its place.
- It is in a group that was written. Entries get their ids from the last to the first. So a caller that sees its id, perhaps
  before it was woken, knows that each caller behind it has one, too: it wakes the next, and this one does not sleep again.
- It is in a group that failed. Each entry gets the error, and each caller is woken by the leader itself.
- It was in the queue when the log was closed or failed (`clear`). It waits for the turn itself, and for nobody's wake-up.

An interrupt (KeyboardInterrupt, MemoryError) that a caller meets may take a wake-up with it:

- An interrupted caller leaves its entry to the next leader, and wakes all others: it may have been chosen to lead, or not have
  woken who is next. Nobody waits to be woken by it: the leader of its group sees that it has left and wakes all, or it leaves
  so late that it knows whom to wake itself.
- The leader puts an entry into its group before it takes it from the queue. So an interrupt finds each entry in one of the two,
  or in both, and a settled entry in the queue counts as left.

A few instructions are left, for Python takes a lock and notes it in two steps: an interrupt right after the turn was taken, or
just as it is given back, can leave it taken, or the next caller asleep. So can a second interrupt that meets the handling of
the first.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence
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
        if self._behind is not None:
            self._behind.wake()
            self._behind = None

    @staticmethod
    def settle_all(group: Sequence[Entry], first_id: int) -> None:
        """Give them ids from this one on, and wake the first; each wakes the next (`wake_behind`).

        Awake all at once they would only wait for Python's global lock, and the next group for the leader who wakes them.
        """
        behind: Entry | None = None
        batch_id = first_id + len(group)
        for entry in reversed(group):
            batch_id -= 1
            entry._behind = behind  # First: a caller that sees its id may return at once.
            entry.batch_id = batch_id
            behind = entry
        for entry in group if any(entry.left for entry in group) else group[:1]:
            entry.wake()


class Turn:
    """A lock that its holder may take again; each time that it is given back, ``returned`` is called afterwards."""

    def __init__(self, returned: Callable[[], None]) -> None:
        self._lock, self._returned = threading.RLock(), returned

    def take(self, *, wait: bool = True) -> bool:
        """Take the turn; False if another thread has it and ``wait`` is False."""
        return self._lock.acquire(blocking=wait)

    def give_back(self) -> None:
        """Give it back; another thread can take it once it was given back as often as it was taken."""
        try:
            self._lock.release()
        finally:
            self._returned()  # Only now: a caller that queued and then found the turn taken is still seen here.

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
            write_next_group: takes a group from the queue (`move_group`), writes it and settles its entries. Called with the turn
                held, by this thread or by another one that queues.

        Raises: what ``write_next_group`` raises, in the thread that calls it.
        """
        entry = Entry(message)
        try:
            self._waiting.append(entry)
            while not entry.settled:
                if self.turn.take(wait=entry.forgotten):
                    try:  # At once: an interrupt before it would leave the turn taken.
                        if not entry.settled:
                            write_next_group()
                    finally:
                        self.turn.give_back()
                else:
                    entry.sleep()
            entry.wake_behind()
        except BaseException:
            entry.left = True
            for other in list(self._waiting):
                other.wake()
            entry.wake_behind()  # After ``left``: a leader that has not seen it has said by now who is behind.
            raise
        return entry

    def _wake_next(self) -> None:
        for entry in list(self._waiting):
            if not (entry.left or entry.settled):
                entry.wake()
                return

    def move_group(self, group: list[Entry], room_bytes: int, *, seal_bytes: int, entries_max: int) -> None:
        """Move entries from the head into the empty group, in order, until they fill the room, but at least one; with the turn
        held. After an interrupt each entry is in the group, in the queue, or in both.
        """
        while True:
            entry = self._waiting[0]
            group.append(entry)
            self._waiting.popleft()
            room_bytes -= len(entry.message) + seal_bytes
            if room_bytes <= 0 or len(group) >= entries_max or not self._waiting:
                return

    def __len__(self) -> int:
        return len(self._waiting)

    def clear(self) -> None:
        """Empty the queue: each waiting caller will lead, and get the error that says why nothing can be written."""
        while self._waiting:
            entry = self._waiting[0]
            entry.forgotten = True
            entry.wake()
            self._waiting.popleft()  # Last: an interrupt before it leaves the entry to the next thread that empties the queue.
