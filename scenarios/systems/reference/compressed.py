"""The reference engine whose compressed rows wait: several generations in one commit, in two tables that compete for memory.

Table ``a`` has a log, ``b`` none. The script lets compressed rows of both meet each reason to commit them (the budget, a flush,
closing, a switch of the log) and each reason to forget them (truncation, drop), lets tables become idle, and changes the budget.
Words, items and promises are those of `switched`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from crashmatrix.reference_wal import EngineOptions
from crashmatrix.scenarios.systems.reference.switched import COMPRESSED, IDLE_SECONDS, SwitchedEngine

__all__ = ["CompressedEngine"]

_BATCH_BYTES, _FILE_BYTES = 84, 1_060
"""The size of a batch in memory, and about that of a generation of two batches, compressed."""

_BEFORE = "create:a:1 create:b:0 a b a a a flush b flush a flush a"

_DURING = """
    a a b a a b a a
    b wait wait idle a flush
    a b wait a wait idle a flush
    a a a truncate:a b b b truncate:b a b flush
    reopen
    a a a off:a a a a on:a b b b on:b b b b drop:b create:b:0 b b
    a a compressed_bytes_max:0 b compressed_bytes_max:2500 a flush a a a b
    reopen
    a b flush
"""
"""Generations have two batches, and the budget takes two of them compressed. A session ends with single ones committed."""

_LATER = "{missing} a a b b a a wait wait idle a off:a a a a on b b b truncate:b b b b flush b"


class CompressedEngine(SwitchedEngine):
    """The reference engine with a budget for compressed rows that wait to be committed."""

    scripts: ClassVar[tuple[str, str, str]] = (_BEFORE, _DURING, _LATER)
    options: ClassVar[EngineOptions] = EngineOptions(
        segment_bytes_max=3 * 1024, preallocate_bytes=512, generation_bytes_max=2 * _BATCH_BYTES,
        memory_bytes_max=3 * _BATCH_BYTES // 2, compressed_bytes_max=5 * _FILE_BYTES // 2, checkpoint_commits=3,
        idle_seconds=IDLE_SECONDS,
    )  # fmt: skip
    boundaries: ClassVar[Sequence[str]] = COMPRESSED
    unreached: ClassVar[Sequence[str]] = tuple(name for name in SwitchedEngine.unreached if name not in COMPRESSED)
