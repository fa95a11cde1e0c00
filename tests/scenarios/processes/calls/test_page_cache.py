"""The account of clean pages: what a file holds once the pages of a failed sync are dropped."""

from __future__ import annotations

import pytest

from crashmatrix.scenarios.processes.calls.page_cache import PAGE, CachedFile

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
    ("two failures", A + B, [("failed", C + B), ("failed", C + D)], C + D, A + B),
]  # fmt: skip


@pytest.mark.parametrize(
    ("syncs", "disk", "content", "left"), [pytest.param(s, d, c, e, id=i) for i, d, s, c, e in TABLE]
)
def test_what_is_left(syncs: list[tuple[str, bytes]], disk: bytes, content: bytes, left: bytes) -> None:
    """A failed sync leaves dirty pages clean; only what is changed afterwards is written by a later one."""
    file = CachedFile(disk)
    for how, now in syncs:
        file.failed(now) if how == "failed" else file.synced(now)
    assert file.dropped(content) == left
