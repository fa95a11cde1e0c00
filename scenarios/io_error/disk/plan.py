"""The faults that are tried on a recorded disk: pure functions of what an undisturbed recording does, the budget and the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from crashmatrix.faults.disk import Filesystem
from crashmatrix.scenarios.io_error.disk.base import Base, Request
from crashmatrix.scenarios.io_error.faults import FLUSH, FULL, READ, ROOMS, SMALL, WRITE, RequestFault
from crashmatrix.scenarios.io_error.messages import Place
from crashmatrix.scenarios.io_error.plan import choose, thinned
from crashmatrix.scenarios.processes.calls.call_faults import CallFault

__all__ = ["SHARE", "VARIANTS_ON_DISK", "beyond", "choose_on_disk", "cuts_later", "rooms"]

SHARE: Final = 4
"""A filesystem gets one part in so many of the budget."""

VARIANTS_ON_DISK: Final = {
    WRITE: (("EIO", "once"), ("EIO", "twice"), ("EIO", "on"), ("ENOSPC", "once")),
    FLUSH: (("EIO", "once"), ("EIO", "twice"), ("EIO", "on")),
    READ: (("EIO", "once"), ("EIO", "twice"), ("EIO", "on")),
    FULL: (("ENOSPC", "once"), ("ENOSPC", "on")),
    SMALL: (("ENOSPC", "on"),),
}
"""The faults of each class of requests, the simplest first. A disk that is thinly provisioned answers a write with ENOSPC."""

_ROOMS, _BLOCKS = 6, (1, 2, 4)
_LATER = (1, 2, 4, 8, 16, 32)
"""After which acknowledgements the power is cut, counted from a call that failed."""
_CALLS_SHARE, _FULL_SHARE = 4, 6


def choose_on_disk(base: Base, places: Sequence[Place], budget: int, seed: int) -> tuple[list[RequestFault], str]:
    """Choose at most ``budget`` faults of a disk, and say by what rule (empty: all requests with all variants).

    A share goes to calls that fail while the workload runs on the disk, another to a disk without room.
    """
    several = rooms(base)
    plain = {several[at] for at in (0, len(several) // 2, -1)} if several else set()
    full = [
        (2 * (room not in plain) + (calls == SMALL), RequestFault(base.filesystem, calls, room, *variant))
        for room in several
        for calls in ROOMS
        for variant in VARIANTS_ON_DISK[calls]
    ]
    in_full = thinned(full, max(1, budget // _FULL_SHARE), f"{seed} rooms") if full else []
    share = budget // _CALLS_SHARE if base.requests else budget
    calls, rule = choose(places, share, seed, plain=True) if not base.loses_at_cuts else ([], "")
    rule = rule and f"{base.filesystem}, calls of the workload: {rule}"
    on_disk = [RequestFault.of_call(base.filesystem, fault) for fault in calls if isinstance(fault, CallFault)]
    ranked = [
        (rank, RequestFault(base.filesystem, request.calls, request.number, *variant))
        for request, rank in zip(base.requests, _ranks(base.requests), strict=True)
        for variant in VARIANTS_ON_DISK[request.calls]
    ]
    left = max(1, budget - len(in_full) - len(on_disk))
    if len(ranked) > left:
        rule = (
            f"{base.filesystem}: {len(ranked):,} faults of requests thinned to {left:,} (--budget, seed {seed}): at the first "
            "and the last of each class, then at the first ones after each kind of journal line, then at others"
        )
        ranked = [(0, fault) for fault in thinned(ranked, left, f"{seed} requests")]
    return [*(fault for _, fault in ranked), *in_full, *on_disk], rule


def rooms(base: Base) -> list[int]:
    """Return the sizes of room to try, in KiB: from none to as much as the workload needs, but for some blocks."""
    if not base.room_bytes or not Filesystem.parse(base.filesystem).on_disk:
        return []
    most = base.room_bytes >> 10
    return sorted({most * part // _ROOMS for part in range(_ROOMS)} | {max(0, most - 4 * blocks) for blocks in _BLOCKS})


def cuts_later(acks: Sequence[int], end: int, *, several: bool) -> list[int]:
    """Return the cuts after the next of these acknowledgements, if there is one, and at the end; with ``several``, some between.

    Items may be acknowledged together, so a cut comes after the last of adjacent ones. A call that failed may leave undone what a
    later acknowledgement relies on: a file has no durable name before its folder is synced, however often it is synced itself.
    """
    last = [ack for ack in acks if ack + 1 not in acks]
    return [*(last[number - 1] + 1 for number in (_LATER if several else (1,)) if number <= len(last)), end]


def beyond(base: Base) -> Iterator[RequestFault]:
    """Yield faults that an undisturbed run leaves untouched: after the last request of each class, and with ample room."""
    for calls in (WRITE, FLUSH, *([READ] if base.fails_reads else [])):
        if Filesystem.parse(base.filesystem).on_disk:
            last = max((request.number for request in base.requests if request.calls == calls), default=0)
            yield RequestFault(base.filesystem, calls, last + 1, "EIO")
    if rooms(base):
        yield RequestFault(base.filesystem, FULL, (base.room_bytes >> 9) + (8 << 10), "ENOSPC", "on")


def _ranks(requests: Sequence[Request]) -> list[int]:
    first = {request.calls: at for at, request in reversed([*enumerate(requests)])}
    last = {request.calls: at for at, request in enumerate(requests)}
    seen: set[tuple[str, str]] = set()
    ranks = []
    for at, request in enumerate(requests):
        key = request.calls, request.after
        ranks.append(0 if at in (first[request.calls], last[request.calls]) else 1 if key not in seen else 2)
        seen.add(key)
    return ranks
