"""Free pieces amid the heap are taken once; children then allocate at its end."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
import resource
from crashmatrix.scenarios.processes import heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = libc.free.argtypes = [ctypes.c_size_t]
pieces = [libc.malloc(2000) for _ in range(4000)]
for piece in pieces[::2]:
    libc.free(piece)
first = heap.take_what_is_free()
print(first, heap.take_what_is_free(), sum(libc.malloc(2000) in set(pieces) for _ in range(100)))
"""


@pytest.mark.skipif("glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="another C library")
def test_what_is_free_amid_the_heap_is_taken() -> None:
    """No later allocation lies between pieces that are in use."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    first, second, amid = map(int, done.stdout.split())
    assert first >= 2000
    assert second < first // 10
    assert amid == 0
