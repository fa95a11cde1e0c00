"""Bugs in what is synced, and when: each stands in for a step of the engine, or wraps one. `mutants` is the table."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, cast

from crashmatrix.reference_wal import durable_io
from crashmatrix.reference_wal.atomic_file import AtomicFile

__all__ = ["Postponed", "Unsynced", "sync_postponed", "unsynced_file"]


def _nothing_dropped(descriptor: int, offset: int, length: int, advice: int, /) -> None:
    pass


class Unsynced:
    """A step in which nothing is synced; stands in for a `durable_io.Step`.

    Nor is the page cache dropped, for Linux then begins to write what is dirty, and ext4 has it on the disk at its next commit.
    """

    def __init__(self, step: durable_io.Step) -> None:
        self._step = step

    def __enter__(self) -> None:
        self._kept = os.fsync, os.fdatasync, os.posix_fadvise
        os.fsync = os.fdatasync = self._instead  # type: ignore[assignment]
        os.posix_fadvise = _nothing_dropped
        self._step.__enter__()

    def __exit__(self, *error: Any) -> None:
        os.fsync, os.fdatasync, os.posix_fadvise = self._kept
        self._step.__exit__(*error)

    def _instead(self, descriptor: int) -> None:
        pass


_postponed: list[int] = []


class Postponed(Unsynced):
    """A step whose syncs are left for `sync_postponed`."""

    def _instead(self, descriptor: int) -> None:
        _postponed.append(os.dup(descriptor))


def unsynced_file(file: AtomicFile) -> AtomicFile:
    """Let a file be named before it is synced."""
    return replace(file, sync=cast("durable_io.Step", Unsynced(file.sync)))


def sync_postponed(original: Any) -> Any:
    """Do the step, then what `Postponed` left to be synced."""

    def method(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        while _postponed:
            descriptor = _postponed.pop(0)
            os.fsync(descriptor)
            os.close(descriptor)

    return method
