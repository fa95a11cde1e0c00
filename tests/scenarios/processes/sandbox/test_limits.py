"""Limits: what counts, and when it is too much. `test_cell` has jobs that break them."""

import os

import pytest

from crashmatrix.scenarios.processes.sandbox.limits import breach


@pytest.mark.parametrize(
    ("processes", "memory", "said"),
    [
        (10**6, 1 << 50, ""),
        (0, 1 << 50, "it had more than 0 processes"),
        (10**6, 0, "its processes used more than 0 MiB of memory"),
    ],
)
def test_breach(processes: int, memory: int, said: str) -> None:
    """Each limit is looked at by itself."""
    assert breach(processes, memory) == said


def test_memory_that_is_reserved_only() -> None:
    """Address space that nobody wrote to is not used, nor is what processes share used twice."""
    before = 64 << 20
    kept = bytearray(before)  # Zeros: not in memory yet.
    assert len(kept) == before
    assert breach(10**6, 1 << 50) == ""
    assert os.getpid() > 1
