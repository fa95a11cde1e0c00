"""A property-based test: Hypothesis pushes and kills in any order, and shrinks a failure to its shortest steps.

    pip install '.[hypothesis]'                     # in a clone of the repository
    pytest docs/examples/test_queue_machine.py       # TestQueue passes; TestInPlaceQueue fails: cannot-open

The queue is in `queue_store.py`: another process imports that module, without Hypothesis.
"""

from hypothesis import settings, strategies as st
from hypothesis.stateful import rule
from queue_store import InPlaceQueue, Queue

from crashmatrix import CrashStateMachine


class QueueMachine(CrashStateMachine):
    """The rules `kill` and `power_cut` are inherited; these are the queue's own."""

    open = Queue
    contract = "prefix"  # a prefix of the pushed values comes back, with all acknowledged ones
    power_cuts_max = 0  # 2, on a machine with root, FUSE and loop devices

    @rule(value=st.integers(0, 9))
    def push(self, value):
        self.do("push", value, item=value)  # calls `push`; its return acknowledges the item


class InPlaceMachine(QueueMachine):
    open = InPlaceQueue


TestQueue = QueueMachine.TestCase
TestInPlaceQueue = InPlaceMachine.TestCase
TestQueue.settings = settings(max_examples=20, stateful_step_count=6, deadline=None)
TestInPlaceQueue.settings = settings(max_examples=50, stateful_step_count=6, deadline=None)
