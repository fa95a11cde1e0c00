"""The reference log by itself, without the engine: appends, groups of threads, sets of persisted batches, truncation, removal.

Items: ``["append", TABLE, NUMBER]``, and ``["mark", TABLE, IDS]`` for batches that were marked persisted. A batch is found if the
log returns it or knows that it is persisted. ``["create", TABLE]`` and ``["drop", TABLE]`` are of a table without other items.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from crashmatrix.reference_wal.errors import LogPoisoned, ReferenceWalError
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken, failing_disk, noting
from crashmatrix.scenarios.systems.reference.oracle.apart.ended_logs import judge_ended_logs
from crashmatrix.scenarios.systems.reference.oracle.apart.every_type import log_every_type
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import in_first_run
from crashmatrix.scenarios.systems.reference.oracle.apart.full_segments import closes_when_full
from crashmatrix.scenarios.systems.reference.oracle.apart.tampered_logs import judge_tampered_logs
from crashmatrix.scenarios.systems.reference.oracle.closed_logs import compare_ends, ends_of, refuse_changed_bytes
from crashmatrix.scenarios.systems.reference.oracle.damage import refuse_damage
from crashmatrix.scenarios.systems.reference.oracle.refusals import (
    append_together,
    compare_counters,
    in_threads,
    let_go,
    nothing_to_retire,
    read_meanwhile,
    refuse_all,
    refuse_marks,
    refuse_to_log,
    threads_in_order,
)
from crashmatrix.scenarios.systems.reference.oracle.warned import warned_of
from crashmatrix.scenarios.systems.reference.outcomes import LogContract
from crashmatrix.scenarios.systems.reference.torn_logs import active_segment, leave_remains
from crashmatrix.scenarios.target.journal import Item, Journal, Promises
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["ReferenceLog", "ThreadedLog"]

SCHEMA = pa.schema([pa.field("number", pa.int64(), nullable=False), ("value", pa.binary())])
STEADY, OTHER, SHARED, BRIEF, FRESH, WHOLE = "steady", "other", "shared", "brief", "fresh", "whole"

SEGMENT_BYTES_MAX, PREALLOCATE_BYTES, APPENDS, EACH_THREAD = 12_000, 8_192, 22, 7
GROUP, GROUPS_AT = 3, (6, 14)
"""Numbers at which so many threads append together."""
RESUMED_APPENDS, RESUMED_FROM = 3, 900
"""How often a second life appends to each table, and the first number in the table that threads share."""
AFTER_AN_ERROR = 170
"""The first number of those appended after a call that failed: of a thread of their own, as recovery sees it."""
MARKS: dict[int, tuple[str, list[int]]] = {
    9: (STEADY, [5, 2]),
    12: (OTHER, [1]),
    13: (STEADY, [12, 7, 0]),
    17: (STEADY, [1, 6, 3, 4]),
    19: (STEADY, [18, 10]),
    20: (OTHER, [0, 1, 2, 3, 4, 5]),
    21: (STEADY, [9, 16, 8]),
}
"""Batches marked before an append, out of order, with holes. No two marks share a batch, but `OTHER`'s last, by truncation."""

_PREPARED_MARK, _STRANGE = (OTHER, [0]), (f"{FRESH}/by-somebody-else", f"{STEADY}/0-by-somebody-else")


class ReferenceLog(SystemUnderTest):
    """The reference write-ahead log. ``safe`` under kill and power; after ModelarDB's, whose algorithm is described at
    https://github.com/ModelarData/ModelarDB-RS/pull/376.

    Args:
        threads: how many append at the same time as they please, to one table. Meant for power cuts: where a hit falls
            then differs from run to run, so killing at a numbered hit says little. 0: one thread, and now and then groups
            that are led to share one sync, the same in every run.
    """

    failpoints_suffice = True
    contract = LogContract()
    boundaries: ClassVar[Sequence[str]] = ("wal.persist.",)
    unreached: ClassVar[Sequence[str]] = (
        "checkpoint.", "commit.", "compress.", "delta.", "drop.", "engine.", "orphan.", "seal.", "spill.", "transfer.",
        "recovery.newest_commit.", "recovery.replay.", "recovery.spill.", "recovery.table.", "recovery.tables.",
        "recovery.torn_commit.", "recovery.transfer.", "recovery.unfinished_table.",
        "rows.delta.", "rows.opening.", "rows.spill.", "options.", "recovery.options.", "rows.options.",
    )  # fmt: skip
    stable_recovery = True

    def __init__(self, threads: int = 0) -> None:
        self._threads = threads
        self._failed = self._doing = ""

    def _open(self, root: Path) -> AbstractContextManager[WriteAheadLog]:
        wal = WriteAheadLog(root / "wal", segment_bytes_max=SEGMENT_BYTES_MAX, preallocate_bytes=PREALLOCATE_BYTES)
        return closing(wal)

    def prepare(self, root: Path) -> Sequence[Item]:
        """Make the tables, three with two batches each, and one with a batch; then what an earlier death could have left."""
        items = []
        with self._open(root) as wal:
            for table in (STEADY, OTHER, SHARED):
                wal.create_table_log(table, SCHEMA, identity=f"reference-log {table}")
                for number in range(2):
                    wal.append(table, self._batch(table, number))
                    items.append(["append", table, number])
                    if table != STEADY and not number:
                        wal.log(table).rotate()
            wal.mark_persisted(*_PREPARED_MARK)
            for table in (FRESH, WHOLE):
                wal.create_table_log(table, SCHEMA, identity=table)
            wal.append(WHOLE, self._batch(WHOLE, 0))
        items += [["append", WHOLE, 0], ["mark", *_PREPARED_MARK]]
        leave_remains(root / "wal", torn={STEADY: "rest", SHARED: "middle"}, rotating=OTHER, strange=_STRANGE)
        return items

    def _batch(self, table: str, number: int) -> pa.RecordBatch:
        chance = random.Random(f"{self.seed} {table} {number}")
        value = chance.randbytes(chance.randint(2_000, 5_000) if number % 4 == 2 else chance.randint(20, 700))
        return pa.record_batch([pa.array([number]), pa.array([value], pa.binary())], schema=SCHEMA)

    def workload(self, root: Path, journal: Journal) -> None:
        """Append, alone or together, mark and truncate; after a call that failed, append once more."""
        with noting(journal):
            remains = [active_segment(root / "wal" / table) for table in (STEADY, SHARED)]
            remains += [root / "wal" / name for name in _STRANGE]
            with warned_of(remains) as failed, self._open(root) as wal:
                if self._threads:
                    self._at_the_same_time(wal, journal)
                else:
                    try:
                        self._in_turn(wal, journal)
                    except (ReferenceWalError, OSError) as error:
                        if failing_disk(error):
                            self._go_on(wal, journal)
                        raise
                ends = ends_of(wal)
            let_go(root)
            compare_ends(ends, but_for=failed)
            damaged = partial(refuse_damage, root, self._found, self.seed, times=40)
            each_byte = partial(refuse_changed_bytes, root, self._open, self.recover, self.seed)
            others = (each_byte, closes_when_full, log_every_type, judge_tampered_logs, judge_ended_logs)
            in_first_run(self.workspace, damaged, *(() if self._threads else others))

    def _in_turn(self, wal: WriteAheadLog, journal: Journal) -> None:
        number = 2
        while number < APPENDS:
            if mark := MARKS.get(number):
                self._mark(wal, journal, *mark)
            if number in GROUPS_AT:
                self._together(wal, journal, range(number, number + GROUP))
                number += GROUP
                continue
            self._append(wal, journal, STEADY, number)
            if number % 3 == 0:
                self._append(wal, journal, OTHER, wal.log(OTHER).next_id)
            number += 1
        refuse_to_log(wal, STEADY, BRIEF)
        compare_counters(wal.log(STEADY), appends=APPENDS - 2, shared=len(GROUPS_AT) * (GROUP - 1), closed=1)
        for rotations in range(3):  # Without a batch, with one, over two segments.
            self._make_and_remove(wal, journal, f"{BRIEF} {rotations}", rotations)

    @contextmanager
    def _noting_failure(self, table: str, kind: type[Exception] = LogPoisoned) -> Iterator[None]:
        try:
            yield
        except (LogPoisoned, kind):
            self._failed = table
            raise

    def _go_on(self, wal: WriteAheadLog, journal: Journal) -> None:
        """A caller that does not stop at an error: the log of the failed call refuses, another one promises as before. A table
        that could not be made is made once more, one that could not be removed refuses, or is gone.
        """
        for number, table in enumerate((STEADY, OTHER), AFTER_AN_ERROR):
            with suppress(ReferenceWalError, OSError), claimed_as_broken(f"an append to {table} after a failed call"):
                self._append(wal, journal, table, number)
                if table == self._failed:
                    raise PromiseBroken("corrupt", f"{table} takes a batch after a call has failed")
        if self._failed:
            refuse_marks(wal, self._failed)
        with suppress(ReferenceWalError, OSError), claimed_as_broken(f"{BRIEF} after a {self._doing} that failed"):
            if self._doing == "removal" and BRIEF in wal.tables:
                refuse_all(wal, BRIEF, SCHEMA, self._batch(BRIEF, 0))
            elif self._doing:
                self._make_and_remove(wal, journal, f"{BRIEF} once more", 1)

    def _make_and_remove(self, wal: WriteAheadLog, journal: Journal, identity: str, batches: int) -> None:
        """The new log begins empty, though one of its name had batches."""
        self._doing = "creation"
        with journal.attempt(["create", BRIEF]):
            wal.create_table_log(BRIEF, SCHEMA, identity=identity)
        self._doing = ""
        for number in range(batches):
            if wal.append(BRIEF, self._batch(BRIEF, number)) != number:
                raise PromiseBroken("duplicate", f"the new log {BRIEF} does not begin with the id 0")
            wal.log(BRIEF).rotate()
        if batches:
            wal.mark_persisted(BRIEF, [batches - 1])
        self._doing = "removal"
        with journal.attempt(["drop", BRIEF]):
            wal.remove_table_log(BRIEF)
        self._doing = ""

    def resume(self, root: Path, journal: Journal) -> None:
        """Append more to each table, mark, rotate one, and make and remove a table once more."""
        with noting(journal), self._open(root) as wal:
            for turn in range(RESUMED_APPENDS):
                for table in (STEADY, OTHER):
                    self._append(wal, journal, table, wal.log(table).next_id)
                self._append(wal, journal, SHARED, RESUMED_FROM + turn)
            self._mark(wal, journal, STEADY, [wal.log(STEADY).next_id - back for back in (1, 3)])
            wal.log(OTHER).rotate()
            if BRIEF in wal.tables:
                with journal.attempt(["drop", BRIEF]):
                    wal.remove_table_log(BRIEF)
            self._make_and_remove(wal, journal, f"{BRIEF} again", 1)
            self._append(wal, journal, OTHER, wal.log(OTHER).next_id)

    def _append(self, wal: WriteAheadLog, journal: Journal, table: str, number: int) -> None:
        batch = self._batch(table, number)
        with journal.attempt(["append", table, number]), self._noting_failure(table):
            batch_id = wal.append(table, batch)
        if self._threads:
            return
        with claimed_as_broken(f"looking at {table} after an append"):
            last, found = wal.unpersisted(table)[-1]
            if last != batch_id or not found.equals(batch) or wal.log(table).next_id != batch_id + 1:
                raise PromiseBroken("loses", f"{table}: batch {batch_id} was appended, and the log ends with {last}")

    def _mark(self, wal: WriteAheadLog, journal: Journal, table: str, ids: list[int]) -> None:
        before, last = _ids_in(wal, table), wal.log(table).next_id - 1
        attempt, read = journal.attempt(["mark", table, sorted(ids)]), read_meanwhile(wal.log(table))
        with read, attempt, self._noting_failure(table, OSError):
            if ids == list(range(last + 1)):
                wal.truncate(table)
            else:
                wal.mark_persisted(table, ids)
        with claimed_as_broken(f"looking at {table} after a mark"):
            nothing_to_retire(wal.log(table))
            if _ids_in(wal, table) != (left := [batch_id for batch_id in before if batch_id not in ids]):
                raise PromiseBroken("loses", f"{table}: the log holds {_ids_in(wal, table)}, not {left}")

    def _together(self, wal: WriteAheadLog, journal: Journal, numbers: range) -> None:
        """Threads queue one after the other while the log is kept quiet, so that one of them leads them all."""
        attempts = {number: journal.attempt(["append", STEADY, number]) for number in numbers}
        errors = append_together(wal.log(STEADY), {number: self._batch(STEADY, number) for number in numbers})
        for number, attempt in attempts.items():
            attempt.fail() if number in errors else attempt.acknowledge()
        with self._noting_failure(STEADY):
            for error in errors.values():
                raise error

    def _at_the_same_time(self, wal: WriteAheadLog, journal: Journal) -> None:
        def work(thread: int) -> None:
            for turn in range(EACH_THREAD):
                self._append(wal, journal, SHARED, thread * 100 + turn)
                _ids_in(wal, SHARED)  # While others append.

        in_threads(work, self._threads)

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the log; return what it holds or knows to be persisted."""
        return self._found(root, lambda: None)

    def _found(self, root: Path, opened: Callable[[], None]) -> list[Item]:
        with self._open(root) as wal:
            opened()
            made = [["create", BRIEF]] if BRIEF in wal.tables else []
            return [*made, *(item for table in wal.tables if table != BRIEF for item in self._items(wal, table))]

    def _items(self, wal: WriteAheadLog, table: str) -> list[Item]:
        log = wal.log(table)
        persisted = {batch_id for first, last in log.persisted for batch_id in range(first, last + 1)}
        found = dict(log.unpersisted())
        if list(found) != [batch_id for batch_id in range(log.next_id) if batch_id not in persisted]:
            raise PromiseBroken("hole", f"{table}: batches {list(found)} of {log.next_id}, persisted {log.persisted}")
        numbers = [self._number(table, found[i]) if i in found else i for i in range(log.next_id)]
        threads_in_order(numbers, table)
        if any(later[0] <= earlier[1] + 1 for earlier, later in pairwise(log.persisted)):
            raise PromiseBroken("corrupt", f"{table}: the ranges of persisted batches touch: {log.persisted}")
        marks = [
            ["mark", table, sorted(ids)]
            for place, ids in (_PREPARED_MARK, *MARKS.values())
            if place == table and persisted >= set(ids)
        ]
        if later := sorted(persisted - {batch_id for _, _, ids in marks for batch_id in ids}):
            marks.append(["mark", table, later])  # A second life's; in a first one, this was never attempted.
        return [*(["append", table, number] for number in numbers), *marks]

    def _number(self, table: str, batch: pa.RecordBatch) -> int:
        number: int = batch["number"][0].as_py()
        if not batch.equals(self._batch(table, number)):
            raise PromiseBroken("corrupt", f"{table}: batch {number} came back with other bytes")
        return number

    def verify(self, root: Path, promises: Promises) -> None:
        """Go on: the next id is one never given out; every closed segment opens in a plain Arrow reader."""
        try:
            with self._open(root) as wal:
                for table in (STEADY, OTHER, SHARED):
                    log = wal.log(table)
                    acknowledged = sum(item[:2] == ["append", table] for item in promises.acknowledged)
                    fresh = wal.append(table, self._batch(table, 50))
                    if fresh < acknowledged:
                        raise PromiseBroken("duplicate", f"{table}: id {fresh} was given out again")
                    log.rotate()
                    for path in sorted(log.folder.glob("*.arrows")):
                        pa.ipc.open_stream(path.read_bytes()).read_all().validate(full=True)
        except (ReferenceWalError, OSError, pa.ArrowException) as error:
            raise PromiseBroken("cannot-open", f"going on raised {type(error).__name__}: {error}") from error


class ThreadedLog(ReferenceLog):
    """The same log, to which threads append as they please, and nothing else is done."""

    unreached: ClassVar[Sequence[str]] = (
        *ReferenceLog.unreached,
        *("rows.", "wal.create_table.", "wal.persist.", "wal.remove_table.", "wal.retire.", "wal.rotate."),
    )


def _ids_in(wal: WriteAheadLog, table: str) -> list[int]:
    return [batch_id for batch_id, _ in wal.unpersisted(table)]
