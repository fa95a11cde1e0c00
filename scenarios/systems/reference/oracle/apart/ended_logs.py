"""Logs that have ended: closed, removed, interrupted, or with files gone while they are open.

A call on one of them raises the error that says why, and changes nothing: its folder may be another log's by now. A caller that
waits meanwhile gets the error, too, and never sleeps on. The logs are the oracle's own; no other part of the workload ends with
an interrupt, or with a reader whose log is removed.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from crashmatrix.reference_wal.errors import EngineClosed, InvalidInput, LogCorrupted, LogPoisoned, UnknownTable
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.table_logs import TableLogs
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLog
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import contents, folder_apart, judged
from crashmatrix.scenarios.systems.reference.oracle.refusals import let_go

__all__ = ["judge_ended_logs", "raises"]

_SCHEMA = pa.schema([("number", pa.int64())])
_TABLE, _LATER = "ended", 100
"""The table, and the first number in a later log of its name."""
_STUCK_SECONDS = 10.0
_SIZES: dict[str, Any] = {"segment_bytes_max": 1_000_000, "preallocate_bytes": 1_024}


def judge_ended_logs() -> None:
    """Make logs, end them, and call on. Raises PromiseBroken if a call raises another error, changes a file, or never returns."""
    judges = (
        *(_first_ids, _closed, _closed_while_appends_wait, _removed, _read_while_removed, _interrupted),
        *(_files_gone, _gone_before_recovery, _stand_ins),
    )
    with folder_apart() as folder:
        for judge in judges:
            root = folder / judge.__name__
            with judged(f"a log that has ended ({judge.__name__.strip('_').replace('_', ' ')})"):
                judge(root)
                let_go(root)


def raises(kind: type[Exception], call: Callable[[], object], what: str) -> Exception:
    """Make a call, and return its error. Raises PromiseBroken unless it is of exactly this kind."""
    try:
        call()
    except Exception as error:
        if type(error) is kind:
            return error
        raise PromiseBroken("corrupt", f"{what} raised {type(error).__name__}, not {kind.__name__}: {error}") from error
    raise PromiseBroken("corrupt", f"{what} raised nothing, where {kind.__name__} is due")


def _batch(number: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array([number])], schema=_SCHEMA)


def _opened(root: Path) -> closing[WriteAheadLog]:
    return closing(WriteAheadLog(root, **_SIZES))


@contextmanager
def _with_batches(root: Path, first: int = 0) -> Iterator[tuple[WriteAheadLog, SegmentedLog]]:
    """Yield a log of two closed segments with two batches each, and of an active one with one."""
    with _opened(root) as wal:
        wal.create_table_log(_TABLE, _SCHEMA)
        _fill(wal, first)
        yield wal, wal.log(_TABLE)


def _fill(wal: WriteAheadLog, first: int = 0) -> None:
    for number in range(5):
        wal.append(_TABLE, _batch(first + number))
        if number % 2:
            wal.log(_TABLE).rotate()


def _numbers(log: SegmentedLog) -> list[int]:
    return [batch["number"][0].as_py() for _, batch in log.unpersisted()]


def _same(found: object, due: object, what: str) -> None:
    if found != due:
        raise PromiseBroken("corrupt", f"{what}: {found}, where {due} is due")


def _changes(log: SegmentedLog) -> dict[str, Callable[[], object]]:
    """Every call that changes a log."""
    return {
        "an append": partial(log.append, _batch(9)),
        "a truncation": log.truncate,
        "a rotation": log.rotate,
        "a mark": partial(log.mark_persisted, [0]),
        "a mark to be remembered": partial(log.mark_persisted, [1], remember=True),
    }


def _refuses(log: SegmentedLog, kind: type[Exception], how: str) -> None:
    """The log refuses every change, and its folder stays as it is."""
    before = contents(log.folder.parent)
    for name, call in _changes(log).items():
        raises(kind, call, f"{name} on a log that was {how}")
    _same(sorted(contents(log.folder.parent).items()), sorted(before.items()), f"files beside a log that was {how}")


def _first_ids(root: Path) -> None:
    """The first id of a log is given out first, and cannot be negative; a call that is refused leaves no folder."""
    with _opened(root) as wal:
        for next_id in (-1, -7):
            raises(
                InvalidInput,
                partial(wal.create_table_log, _TABLE, _SCHEMA, next_id=next_id),
                f"a log from id {next_id} on",
            )
        _same((wal.tables, [*root.iterdir()]), ([], []), "after creations that were refused")
        for next_id in (0, 5):
            wal.create_table_log(f"from-{next_id}", _SCHEMA, next_id=next_id)
            _same(wal.append(f"from-{next_id}", _batch(0)), next_id, "the first id of a log")


def _closed(root: Path) -> None:
    """A closed log refuses changes, and is read as long as its segments are there."""
    with _with_batches(root) as (wal, log):
        reader = log.unpersisted()
        next(reader)
        wal.close()
        _refuses(log, EngineClosed, "closed")
        _same(_numbers(log), [*range(5)], "batches of a closed log")
        (log.folder / "2-3.arrows").unlink()
        raises(EngineClosed, partial(list, reader), "reading a closed log without a segment")


def _closed_while_appends_wait(root: Path) -> None:
    """An append that waits when the log is closed, or removed, gets the error, and leaves nothing in the folder."""
    for kind in (EngineClosed, UnknownTable):
        with _with_batches(root / kind.__name__) as (_, log):
            with _waiting(log) as errors:
                log.close(note_end=False, removed=kind is UnknownTable)
                before = contents(log.folder)
            _same([type(error) for error in errors], [kind] * 2, "errors of appends that waited")
            _same(sorted(contents(log.folder)), sorted(before), "files of a log that was ended")
            _same(log.next_id, 5, "the next id of a log that was ended while appends waited")


@contextmanager
def _waiting(log: SegmentedLog, appends: int = 2) -> Iterator[list[BaseException]]:
    """Keep the log quiet for the block, while appends queue; then wait for them. Yields their errors."""
    errors = list[BaseException]()

    def append(number: int) -> None:
        try:
            log.append(_batch(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=append, args=(90 + place,), daemon=True) for place in range(appends)]
    with log.quiet():
        for queued, thread in enumerate(threads, 1):
            thread.start()
            while log.waiting < queued and thread.is_alive():
                threading.Event().wait(0.0005)
        yield errors
    for thread in threads:
        thread.join(_STUCK_SECONDS)
        if thread.is_alive():
            raise PromiseBroken("hangs", f"an append sleeps on, {len(errors)} of {appends} others have returned")


def _removed(root: Path) -> None:
    """A removed log refuses changes, also once there is another log of its name, whose files stay as they are."""
    with _with_batches(root) as (wal, log):
        wal.remove_table_log(_TABLE)
        _refuses(log, UnknownTable, "removed")
        wal.create_table_log(_TABLE, _SCHEMA)
        _fill(wal, _LATER)
        _refuses(log, UnknownTable, "removed, and made anew")
        _same(_numbers(wal.log(_TABLE)), [*range(_LATER, _LATER + 5)], "batches of a log made anew")


def _read_while_removed(root: Path) -> None:
    """A reader never gets a batch of a later log, nor an error about it: its own log is gone."""
    for read in range(1, 5):
        for later in ("none", "another log", "damage"):
            with _with_batches(root / f"{read} {later}") as (wal, log):
                reader = log.unpersisted()
                _same(len([*islice(reader, read)]), read, "batches read before a removal")
                wal.remove_table_log(_TABLE)
                if later != "none":
                    wal.create_table_log(_TABLE, _SCHEMA)
                    _fill(wal, _LATER)
                for segment in log.folder.glob("*.arrows") if later == "damage" else ():
                    segment.write_bytes(b"no segment")
                raises(
                    UnknownTable,
                    partial(list, reader),
                    f"reading on after {read} batches, where {later} has the folder",
                )


class _Interrupt(BaseException):
    """As a KeyboardInterrupt."""


class _Interrupting(int):
    """A size of segments that interrupts a caller that compares it."""

    def __sub__(self, other: int) -> int:
        del other
        raise _Interrupt


def _interrupted(root: Path) -> None:
    """An interrupt of the thread that writes for all comes out of its call. The others get an error, and no append follows."""
    with _with_batches(root) as (_, log):
        with _waiting(log, appends=3) as errors:
            log.segment_bytes_max = _Interrupting(1_000)
        kinds = sorted(type(error).__name__ for error in errors)
        _same(kinds, ["LogPoisoned", "LogPoisoned", "_Interrupt"], "errors of appends")
        log.segment_bytes_max = 1_000
        raises(LogPoisoned, partial(log.append, _batch(9)), "an append after an interrupt")
        _same(_numbers(log), [*range(5)], "batches of a log whose append was interrupted")
    with _opened(root) as wal:
        found = _numbers(wal.log(_TABLE)), wal.append(_TABLE, _batch(5))
        _same(found, ([*range(5)], 5), "batches and the next id, opened again")


def _files_gone(root: Path) -> None:
    """A segment that vanishes while the log is open is an error, which names the folder; so is one that cannot be opened."""
    with _with_batches(root) as (wal, log):
        segment = log.folder / "2-3.arrows"
        content = segment.read_bytes()
        segment.unlink()
        error = raises(LogCorrupted, partial(wal.unpersisted, _TABLE), "reading a log without a segment")
        _same(getattr(error, "path", None), log.folder, "the path in the error")
        segment.symlink_to("nowhere")
        error = raises(
            OSError, partial(wal.unpersisted, _TABLE), "reading a segment that is listed and cannot be opened"
        )
        _same((getattr(error, "errno", 0), getattr(error, "filename", "")), (errno.EIO, str(segment)), "the error")
        segment.unlink()
        segment.write_bytes(content)
        _same(_numbers(log), [*range(5)], "batches once the segment is back")
        segment.unlink()
        log.mark_persisted([2])
        raises(
            LogCorrupted, partial(wal.unpersisted, _TABLE), "reading a log without a segment of which half is persisted"
        )


def _gone_before_recovery(root: Path) -> None:
    """A recovery that fails half-way lets go of the log. Looking again takes it up."""
    with _with_batches(root):
        pass
    folder = root / _TABLE
    found = UnrecoveredLog.look(folder, **_SIZES)
    if found is None:
        raise PromiseBroken("loses", "a log with batches is taken for a folder that never was one")
    aside = folder.with_name("aside")
    (folder / "2-3.arrows").rename(aside)
    raises(FileNotFoundError, partial(found.reconcile, 3), "a recovery that finds a segment gone")
    let_go(root)
    aside.rename(folder / "2-3.arrows")
    for claimed in (5, 9):
        again = UnrecoveredLog.look(folder, **_SIZES)
        if again is not None:
            raises(
                LogCorrupted,
                partial(again.reconcile, claimed),
                f"a log of 5 batches of which {claimed + 1} are persisted",
            )
    again = UnrecoveredLog.look(folder, **_SIZES)
    if again is not None:
        log = again.reconcile(3)
        _same((_numbers(log), log.next_id), ([4], 5), "batches after a recovery that failed")
        log.close()


def _stand_ins(root: Path) -> None:
    """A table without a log gets ids, holds nothing, and refuses calls in its way."""
    logs = TableLogs(root, **_SIZES, logs=None, stand_ins={})
    kept, dropped = (logs.create(name, _SCHEMA, identity=name, logged=False) for name in ("kept", "dropped"))
    raises(UnknownTable, partial(logs.log, "other"), "the log of a table that is not there")
    for log in (kept, dropped):
        log.refuse_if_poisoned()
        _same([log.append(_batch(0)), log.append(_batch(0))], [0, 1], "ids of a table without a log")
        log.mark_persisted([0])
        log.truncate()
        _same(
            ([*log.unpersisted()], log.append(_batch(0))), ([], 2), "batches of a table without a log, and the next id"
        )
    logs.remove("dropped")
    raises(UnknownTable, partial(dropped.append, _batch(0)), "an append to a table that was dropped")
    raises(UnknownTable, partial(logs.log, "dropped"), "the log of a table that was dropped")
    _same(logs.log("kept") is kept, True, "the log of the other table is its own")
    logs.close()
    raises(EngineClosed, partial(kept.append, _batch(0)), "an append after closing")
    _same(os.path.lexists(root), False, "the folder of logs, which no table has")
