"""A durable queue: push at one end, pop at the other. `test_queue_machine.py` crashes it in random sequences.

The queue has a module of its own: it runs in another process, which imports this module and not the tests.
"""

import json
import os

from crashmatrix.faults import declare

BEFORE_RENAME = declare("queue.save.before_rename", "the new state is durable beside the old one")
AFTER_RENAME = declare("queue.save.after_rename", "the new state is in place, its name not yet durable")
AFTER_OPEN = declare("queue.save.after_open", "the old state is truncated, the new one not written")


class Queue:
    """The whole queue is one small file, replaced at each change: write beside it, fsync, rename, fsync the folder."""

    def __init__(self, root):  # opens, and recovers
        self.root, self.path = root, root / "queue.json"
        self.values = json.loads(self.path.read_text()) if self.path.exists() else []

    def push(self, value):
        self.values.append(value)
        self.save()

    def items(self):
        """The items in the queue: the contract compares them with the items pushed."""
        return list(self.values)

    def save(self):
        with open(self.root / "new", "w") as file:
            json.dump(self.values, file)
            file.flush()
            os.fsync(file.fileno())  # Durable: the data, before the name can point to it.
        BEFORE_RENAME.hit()
        os.replace(self.root / "new", self.path)
        AFTER_RENAME.hit()
        folder = os.open(self.root, os.O_RDONLY)
        os.fsync(folder)  # Durable: the name.
        os.close(folder)


class InPlaceQueue(Queue):
    """A queue done wrong: it overwrites its only copy."""

    def save(self):
        with open(self.path, "w") as file:
            AFTER_OPEN.hit()
            json.dump(self.values, file)
