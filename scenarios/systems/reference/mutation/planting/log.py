"""How bugs are planted in the log: group commit, zeros ahead, sets of persisted batches. `mutants` is the table."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crashmatrix.reference_wal.atomic_file import AtomicFile
from crashmatrix.reference_wal.log import persisted, recovery
from crashmatrix.reference_wal.log.append_queue import AppendQueue, Entry
from crashmatrix.reference_wal.log.retention import Retention
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.active_segment import ActiveSegment
from crashmatrix.reference_wal.log.segments.seal import SealForm
from crashmatrix.reference_wal.log.segments.segment import SegmentName

__all__ = [
    "durable_by_hearsay",
    "everybody_leads",
    "ids_before_sync",
    "made_anew_only",
    "named_at_once",
    "nobody_waits_for_the_turn",
    "retired_first",
    "set_in_place",
    "temporary_kept",
    "uncut",
]


def uncut(original: Any) -> Any:
    """Close a segment with the zeros still in it."""

    def finish(self: ActiveSegment, last_id: int) -> SegmentName:
        self._filled_bytes = self.end_bytes
        return original(self, last_id)  # type: ignore[no-any-return]

    return finish


def named_at_once(original: Any) -> Any:
    """Write a new segment under its final name."""

    def create(folder: Path, start: int, *args: Any, **kwargs: Any) -> ActiveSegment:
        (folder / str(SegmentName(start))).touch()
        return original(folder, start, *args, **kwargs)  # type: ignore[no-any-return]

    return create


def set_in_place(_: Any) -> Any:
    """Write the set of persisted batches over the old one."""

    def write(folder: Path, identity: str, ids: persisted.IdSet) -> None:
        line = str(ids).encode()
        with (folder / persisted.PERSISTED).open("wb", buffering=0) as file:
            with persisted.PERSIST.write:
                file.write(b"%b %016x\n" % (line, persisted._check(line, identity)))
            with persisted.PERSIST.sync:
                os.fsync(file.fileno())

    return write


def temporary_kept(original: Any) -> Any:
    """Leave the unfinished file of a set where there is a set, so that only another change of the set meets it."""

    def apply(folder: Path, plan: recovery.Plan) -> None:
        if (folder / persisted.PERSISTED).exists():
            plan.unfinished = [path for path in plan.unfinished if path.name != f"{persisted.PERSISTED}.tmp"]
        original(folder, plan)

    return apply


def made_anew_only(original: Any) -> Any:
    """Refuse to write over an unfinished file."""

    def put(self: AtomicFile, path: Path, data: bytes, *, temporary: str) -> None:
        if path.with_name(temporary).exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), temporary)
        original(self, path, data, temporary=temporary)

    return put


def retired_first(_: Any) -> Any:
    """Retire segments before the set that explains their absence is written."""

    def mark(self: Retention, ids: Any, *, remember_as: str | None, **_: int) -> None:
        self.persisted.update(ids)
        self._retire()
        if remember_as is not None:
            persisted.write_persisted(self.folder, remember_as, self.persisted)

    return mark


def durable_by_hearsay(original: Any) -> Any:
    """Seal each record of a group as if those before it in the group were durable."""

    def write(self: SealForm, batch_id: int, offset: int, _: int, message: Any) -> bytes:
        return original(self, batch_id, offset, offset, message)  # type: ignore[no-any-return]

    return write


def ids_before_sync(original: Any) -> Any:
    """Give the group its ids before it is written."""

    def write_group(self: SegmentedLog, group: list[Entry]) -> None:
        for batch_id, entry in enumerate(group, self.next_id):
            entry.batch_id = batch_id
        original(self, group)

    return write_group


def nobody_waits_for_the_turn(_: Any) -> Any:
    """Return as soon as the entry is settled, whichever thread has the turn."""

    def settle(self: AppendQueue, message: Any, write_next_group: Callable[[], None]) -> Entry:
        entry = Entry(message)
        self._waiting.append(entry)
        while not entry.settled:
            if self.turn.take(wait=False):
                try:
                    if not entry.settled:
                        write_next_group()
                finally:
                    self.turn.give_back()
            else:
                time.sleep(0.0002)
        return entry

    return settle


class _Open:
    """A turn that everybody has."""

    def take(self, *, wait: bool = True) -> bool:  # noqa: ARG002  # as in Turn
        return True

    def give_back(self) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def everybody_leads(original: Any) -> Any:
    """Let several lead at a time."""

    def init(self: AppendQueue) -> None:
        original(self)
        self.turn = _Open()  # type: ignore[assignment]

    return init
