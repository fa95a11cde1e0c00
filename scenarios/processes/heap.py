"""The C library's heap of a process that is forked often: what is free amid it is taken, so that children allocate at its end.

A page that a child is the first to write costs it 4 µs, for a copy. The free pieces that imports leave are scattered, so each of
a child's first allocations would write to another page. At the end of the heap they share pages, which need no copy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

__all__ = ["take_what_is_free"]

_WHOLE, _STEP, _SIZE_MAX, _LEAST = 1024, 16, 1 << 16, 24
_TAKEN_MAX = 200_000


class _Account(ctypes.Structure):
    """mallinfo2(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()  # noqa: SIM905
    )


def take_what_is_free() -> int:
    """Allocate every free piece of the heap but its end, for ever; returns how many there were, 0 if the C library is another."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):  # glibc 2.33 or newer
        return 0
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.free.argtypes, libc.sbrk.argtypes = (
        [ctypes.c_size_t],
        [ctypes.c_void_p],
        [ctypes.c_ssize_t],
    )
    libc.mallinfo2.restype = _Account
    end = libc.sbrk(0) - libc.mallinfo2().keepcost
    taken = 0
    for size in _sizes():
        while taken < _TAKEN_MAX:
            piece = libc.malloc(size)
            if piece is None or piece >= end:
                libc.free(piece)
                break
            taken += 1
    return taken


def _sizes() -> Iterator[int]:
    """From large to small: malloc cuts a request from the smallest free piece that is large enough."""
    size = _SIZE_MAX
    while size > _WHOLE:
        yield size
        size -= size // 8
    yield from range(_WHOLE, _LEAST, -_STEP)
    yield _LEAST
