"""A stopwatch adds up by name, whatever ends the block."""

import pytest

from crashmatrix.faults.disk.stopwatch import Stopwatch


def test_times_add_up_by_name() -> None:
    """A block that raises counts as well; the others stand still."""
    watch = Stopwatch("mount", "unmount", "apply")
    with watch.timed("mount"):
        pass
    once = watch.seconds["mount"]
    with pytest.raises(KeyError), watch.timed("mount"), watch.timed("unmount"):
        raise KeyError
    assert 0 < once < watch.seconds["mount"]
    assert watch.seconds["unmount"] > 0 == watch.seconds["apply"]
