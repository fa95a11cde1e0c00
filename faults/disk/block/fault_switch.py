"""A switch between a recorder and the processes of a recording: the disk has failed a request; the faults are over; it was read.

Shared memory, made before the recording starts and inherited by its processes, whatever each of them may open.
"""

import mmap

__all__ = ["FaultSwitch"]


class FaultSwitch:
    """Says whether a planned fault has fired, and ends all of them. Counts reads, which a trace does not have."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 16)

    @property
    def fired(self) -> bool:
        """Whether a request has failed."""
        return bool(self._memory[0])

    @property
    def healed(self) -> bool:
        """Whether no request fails any more."""
        return bool(self._memory[1])

    @property
    def reads(self) -> int:
        """How often the disk was read during the workload."""
        return int.from_bytes(self._memory[8:16], "little")

    def note_reads(self, count: int) -> None:
        """Say how often the disk was read during the workload, until now."""
        self._memory[8:16] = count.to_bytes(8, "little")

    def note_failure(self) -> None:
        """Say that a request has failed."""
        self._memory[0] = 1

    def reset(self) -> None:
        """Forget everything, for another recording."""
        self._memory[:] = bytes(len(self._memory))

    def heal(self) -> None:
        """Let no request fail from now on."""
        self._memory[1] = 1
