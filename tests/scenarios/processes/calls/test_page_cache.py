"""The account of clean pages: what a file holds once the pages of a failed sync are dropped."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.page_cache import PAGE, CachedFile, PageCache
from crashmatrix.scenarios.processes.calls.seccomp import Call, lacking
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios import page_cache_functions as do
from tests.scenarios.processes.test_jobs import SECONDS

A, B, C, D = (letter * PAGE for letter in (b"a", b"b", b"c", b"d"))
ZERO = bytes(PAGE)

TABLE: list[tuple[str, bytes, list[tuple[str, bytes]], bytes, bytes]] = [
    ("nothing failed", A, [("ok", B)], B, B),
    ("never synced: dirty pages are written first", A, [], B, B),
    ("a failed sync", A, [("failed", B)], B, A),
    ("a retry has nothing to write", A, [("failed", B), ("ok", B)], B, A),
    ("another page is written by the retry", A + B, [("failed", A + C), ("ok", D + C)], D + C, D + B),
    ("the page is changed again", A, [("failed", B), ("ok", C)], C, C),
    ("a page changed, but not synced, is written before it is dropped", A, [("failed", B)], C, C),
    ("an append in a page of its own", A, [("failed", A + b"x")], A + b"x", A),
    ("an append in the same page, behind it another", b"x", [("failed", b"xy"), ("ok", b"xyz")], b"xyz", b"xyz"),
    ("a lost page before one that is written is a hole", A, [("failed", A + B), ("ok", A + B + C)], A + B + C, A + ZERO + C),
    ("a new file", b"", [("failed", b"x")], b"x", b""),
    ("cut off again", A, [("failed", A + B)], A, A),
    ("written again, with the same content", A, [("failed", B), ("write 0 4096", B), ("ok", B)], B, B),
    ("one page of two is written again", A + B, [("failed", C + D), ("write 4096 8192", C + D), ("ok", C + D)], C + D, A + D),
    ("a byte of a page is", A + B, [("failed", C + D), ("write 4095 4096", C + D), ("ok", C + D)], C + D, C + B),
    ("a byte behind it is", A, [("failed", B), ("write 4096 4097", B + b"x"), ("ok", B + b"x")], B + b"x", A + b"x"),
    ("emptied, and written again", A, [("failed", B), ("write 0", b""), ("ok", B)], B, B),
    ("cut off, and written again", A, [("failed", A + B), ("write 4096", A), ("ok", A + B)], A + B, A + B),
    ("two failures", A + B, [("failed", C + B), ("failed", C + D)], C + D, A + B),
]  # fmt: skip


@pytest.mark.parametrize(
    ("syncs", "disk", "content", "left"), [pytest.param(s, d, c, e, id=i) for i, d, s, c, e in TABLE]
)
def test_what_is_left(syncs: list[tuple[str, bytes]], disk: bytes, content: bytes, left: bytes) -> None:
    """A failed sync leaves dirty pages clean; only what is changed afterwards is written by a later one."""
    file = CachedFile(disk)
    for how, now in syncs:
        name, *numbers = how.split()
        match name:
            case "failed":
                file.failed(now)
            case "ok":
                file.synced(now)
            case _:
                file.changed(*map(int, numbers))
    assert file.dropped(content) == left


@pytest.mark.parametrize(
    ("name", "flags", "again"),
    [
        ("open", os.O_WRONLY, False),
        ("open", os.O_WRONLY | os.O_TRUNC, True),
        ("openat", os.O_RDONLY, False),
        ("openat", os.O_WRONLY | os.O_TRUNC | os.O_CREAT, True),
        ("openat2", os.O_RDWR, False),
        ("openat2", os.O_RDWR | os.O_TRUNC, True),
        ("creat", 0, True),
    ],
)
def test_an_opening_that_empties_a_file(name: str, flags: int, again: bool, tmp_path: Path) -> None:
    """A file that is emptied, and written anew with the same content, is dirty again. One that is only opened is not."""
    path = tmp_path / "log"
    path.write_bytes(A)
    cache = PageCache(tmp_path)
    how = ctypes.create_string_buffer(flags.to_bytes(24, "little"))
    arguments = {"open": (0, flags), "openat": (0, 0, flags), "openat2": (0, 0, ctypes.addressof(how)), "creat": (0,)}[
        name
    ]

    def sync(answer: int | None) -> None:
        with path.open("rb") as file:
            cache.note(Call(1, os.getpid(), 0, 0, (file.fileno(),)), "fsync", [str(path)], answer)

    path.write_bytes(B)
    sync(-errno.EIO)
    cache.note(Call(2, os.getpid(), 0, 0, arguments), name, [str(path)], None)
    sync(None)
    assert cache.dropped() == ({} if again else {"log": A})


@pytest.fixture(scope="module")
def watching() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.page_cache_functions"]) as jobs:
        yield jobs


LOST = {
    "Store": "aa", "SyncedAsAWholeOnly": "ab", "MappedToRead": "aa", "MappedButWritten": "aa", "OneOfEach": "ab",
    "NewDescriptor": "aa", "CopiedDescriptor": "aa", "SyncedByAChild": "aa",
}  # fmt: skip
"""The stores whose first page is lost, and their pages then. All others are right, or cannot be followed."""


@pytest.mark.skipif(bool(lacking()), reason=lacking())
@pytest.mark.parametrize("store", do.STORES)
def test_a_store_that_handles_a_failed_sync(watching: Jobs, tmp_path: Path, store: str) -> None:
    """A page is lost if nothing made it dirty again. Where that cannot be known, nothing is lost."""
    (tmp_path / "root").mkdir()
    assert value(watching.run(do.lost_pages, tmp_path / "root", store, seconds_max=SECONDS)) == LOST.get(store, "")
