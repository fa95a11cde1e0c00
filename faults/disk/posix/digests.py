"""Names for trees: two crash states have one digest exactly when their trees are equal."""

from crashmatrix.faults.disk.posix.tree import Trees
from crashmatrix.faults.disk.state import CrashState
from crashmatrix.faults.disk.trace.trace import Trace

__all__ = ["TreeDigests"]


class TreeDigests:
    """Digests of a trace's crash states."""

    def __init__(self, trace: Trace) -> None:
        self._trees = Trees(trace)

    def of(self, state: CrashState) -> int:
        """The digest of the tree that is left in this state."""
        return self._trees.of(state).digest
