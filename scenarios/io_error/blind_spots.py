"""Calls whose failure leaves more behind than is judged when calls are answered in the kernel's place: they are named.

A failed sync of a folder may leave a name that only the page cache has; a failed msync may leave such pages, and so may a failed
sync of stores to a mapped file; and of a failed write through O_DSYNC, the page cache may hold the record all the same. The
ending ``uncached`` keeps account of none of them (`page_cache`). On a recorded disk that fails, the kernel itself shows
what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from crashmatrix.scenarios.io_error.faults import Fault
from crashmatrix.scenarios.io_error.messages import Place
from crashmatrix.scenarios.processes.calls.call_faults import CallFault

__all__ = ["unjudged"]


def unjudged(places: Sequence[Place], fired: Iterable[Fault]) -> str:
    """Name the kinds of calls among those that failed whose failure is not judged in full; empty if there are none."""
    beyond = {(place.made.calls, place.made.number): place.made.beyond for place in places}
    failed = {beyond.get((fault.calls, fault.number), "") for fault in fired if isinstance(fault, CallFault)}
    if not (kinds := sorted(failed - {""})):
        return ""
    return (
        f"not judged: what the page cache and the disk are left with after a failed {', or after a failed '.join(kinds)}; "
        "`--fs ext4` (as root) judges it, on a disk that fails"
    )
