"""The reference engine with its calls overlapping: writers and a background thread at once, then each pair of calls, one held.

A pair: the first call runs in a thread, and is held at its k-th hit of a failpoint; the second one is made meanwhile. It returns,
or it waits for the first, which is then let go. For every pair of `CALLS`, each k up to the end of the first call is tried, or so
many as `HELD`, drawn with the seed. Where nothing is under way, the table is read and noted.

Items and contract: `contract`. Meant for kills: few hits come in the same order twice, so killed runs are judged, not compared.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.errors import EngineClosed, TableExists, UnknownTable
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken, noting
from crashmatrix.scenarios.systems.reference.overlapping.contract import OverlapContract
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["CALLS", "Caller", "Held", "ThreadedEngine"]

TABLE, ARCHIVE = "shared", "moved"
CALLS = ("ingest", "flush", "truncate", "drop", "transfer", "read", "spill", "close")
HELD = 1
"""At how many hits the first call of each pair is held; 0 for all."""
WRITERS, EACH = 3, 4
_WAIT_SECONDS = 0.05
"""How long the second call may take before it is thought to wait for the first one."""
_STUCK_SECONDS = 60
_HITS_MAX = 30
"""Hits that are drawn from as long as it is not known how many a call has."""
_REOPENED = 0.3
"""The share of pairs after which the engine is opened again."""
_THREE = 0.4
"""The share of pairs in which a batch is ingested before the second call."""
_BATCHES_MAX = 3
"""Above so many batches the table is truncated before a pair: a transfer may have moved any of them."""
_SMALL, _LARGE = 2, 400
"""Rows of a batch; a large one makes the buffers spill."""

SCHEMA = pa.schema(
    [("number", pa.int64()), ("at", pa.timestamp("us")), ("name", pa.dictionary(pa.int8(), pa.string()))]
)
OPTIONS = EngineOptions(segment_bytes_max=3_000, memory_bytes_max=6_000, checkpoint_commits=2)


def _batch(number: int, rows: int) -> pa.RecordBatch:
    columns = [pa.array([number] * rows), pa.array(range(rows), SCHEMA.field("at").type)]
    names = pa.array([f"n{number}"] * rows, SCHEMA.field("name").type)
    return pa.RecordBatch.from_arrays([*columns, names], schema=SCHEMA)


def _numbers(rows: pa.Table) -> list[int]:
    """Return the batches in these rows, one as often as it is there. Raises PromiseBroken: not whole, or not as it was."""
    found = list[int]()
    for number in sorted(set(rows["number"].to_pylist())):
        mine = rows.filter(pc.equal(rows["number"], number))
        size = _SMALL if mine.num_rows % _LARGE else _LARGE
        if mine.num_rows % size or set(mine["name"].to_pylist()) != {f"n{number}"}:
            raise PromiseBroken("corrupt", f"{mine.num_rows} rows of batch {number}, {set(mine['name'].to_pylist())}")
        found += [number] * (mine.num_rows // size)
    return found


class Held:
    """Holds one thread at its k-th hit of a failpoint; wraps the observer that is there."""

    def __init__(self, hit: int) -> None:
        self._reached, self._go_on, self._hit = threading.Event(), threading.Event(), hit
        self._thread: int | None = None
        self.seen = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Hold from here on; the thread is let go at the end."""
        before = faults.observe(None)

        def observe(point: faults.FailPoint, number: int) -> None:
            if threading.get_ident() == self._thread:
                self.seen += 1
                if self.seen == self._hit:
                    self._reached.set()
                    self._go_on.wait()
            if before is not None:  # Afterwards: a kill at this hit finds what the other call did meanwhile.
                before(point, number)

        faults.observe(observe)
        try:
            yield
        finally:
            self._go_on.set()
            faults.observe(before)

    def call(self, work: Callable[[], None]) -> None:
        """Do the work in this thread, which is held."""
        self._thread = threading.get_ident()
        work()
        self._thread = None

    def wait(self, caller: threading.Thread) -> bool:
        """Wait until the thread is held, or at its end; returns whether it is held."""
        while caller.is_alive() and not self._reached.wait(0.001):
            pass
        return self._reached.is_set()

    def let_go(self) -> None:
        """Let the thread go on."""
        self._go_on.set()


class ThreadedEngine(SystemUnderTest):
    """The reference engine, called by several threads.

    Args:
        held: at how many hits the first call of each pair is held; 0 for all.
        pairs: the pairs to try, ``first+second``; all if not given.
    """

    contract = OverlapContract()
    unreached: ClassVar[Sequence[str]] = ("",)  # The schedule decides which failpoints are hit.

    def __init__(self, held: int = HELD, pairs: Sequence[str] = ()) -> None:
        self._held = held
        self._pairs = [pair.split("+") for pair in pairs] or [[one, two] for one in CALLS for two in CALLS]

    def workload(self, root: Path, journal: Journal) -> None:
        """Writers with a background thread; then the pairs, in a drawn order."""
        run = _Run(root, journal, random.Random(f"{self.seed} threads"))
        with noting(journal):
            run.writers()
            for first, second in run.draw.sample(self._pairs, len(self._pairs)):
                run.pair(first, second, self._held)
            run.end()

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the engine; return one item: the table's batches, and those moved."""
        with StorageEngine.open(root, options=OPTIONS) as engine:
            return [["found", *_found(engine, root)]]


def _found(engine: StorageEngine, root: Path) -> tuple[list[int] | None, list[int]]:
    table = _numbers(engine.read(TABLE)) if TABLE in engine.tables else None
    moved = list[int]()
    if (root / ARCHIVE / "_delta_log").exists():
        names = pa.table(DeltaTable(root / ARCHIVE).get_add_actions())["path"].to_pylist()
        rows = [pq.read_table(root / ARCHIVE / name, partitioning=None) for name in names]
        moved = _numbers(pa.concat_tables(rows)) if rows else []
    return table, moved


class Caller(threading.Thread):
    """A thread that makes calls, and keeps what went wrong."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Make the calls."""
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        """Wait for its end, and raise what went wrong."""
        self.join(_STUCK_SECONDS)
        if self.is_alive():
            raise PromiseBroken("hangs", "two calls wait for each other")
        if self._error is not None:
            raise self._error


class _Run:
    """A run of the workload: the engine, opened again wherever it was closed, and the number of the next call."""

    def __init__(self, root: Path, journal: Journal, draw: random.Random) -> None:
        self._root, self._journal, self.draw, self._next = root, journal, draw, count()
        self._engine = StorageEngine.open(root, options=OPTIONS)
        self._closed = False
        self._hits: dict[str, int] = {}
        """How many hits a call has, as it turned out."""

    def writers(self) -> None:
        """Several threads ingest while another reads, and the background thread commits."""
        self._call("create")
        self._engine.close()
        options = replace(OPTIONS, flush_seconds=0.01, generation_bytes_max=2_000)
        self._engine = StorageEngine.open(self._root, options=options)
        kinds = [*["ingest"] * WRITERS, "read"]
        for caller in [Caller(partial(self._calls, [kind] * EACH)) for kind in kinds]:
            caller.finish()
        self._call("close")
        self._settle()

    def end(self) -> None:
        """Close the engine."""
        self._engine.close()

    def _calls(self, kinds: Sequence[str]) -> None:
        for kind in kinds:
            self._call(kind)

    def pair(self, first: str, second: str, held: int) -> None:
        """Hold the first call at one hit after the other, or at drawn ones, and make the second one."""
        for turn in range(1, held + 1) if held else count(1):
            hit = self.draw.randint(1, self._hits.get(first, _HITS_MAX)) if held else turn
            self._make_ready()
            reached = self._overlap(first, second, hit)
            self._settle()
            if not reached and not held:
                return  # The first call has no such hit.

    def _overlap(self, first: str, second: str, hit: int) -> bool:
        """Make two calls, or three: a third one may find that the held one is out of turn."""
        meanwhile = ["ingest", second] if self.draw.random() < _THREE else [second]
        held = Held(hit)
        with held.installed():
            one = Caller(lambda: held.call(partial(self._call, first)))
            reached = held.wait(one)
            two = Caller(partial(self._calls, meanwhile)) if reached else None
            if two is not None:
                two.join(_WAIT_SECONDS)
            held.let_go()
            for caller in filter(None, (one, two)):
                caller.finish()
        if not reached:
            self._hits[first] = max(1, held.seen)
        return reached

    def _make_ready(self) -> None:
        """A table with a committed batch, and one that waits; few others."""
        table, _ = _found(self._engine, self._root)
        if table is None:
            self._call("create")
        elif len(table) > _BATCHES_MAX:
            self._call("truncate")
        self._calls(["ingest", "flush", "ingest"])

    def _settle(self) -> None:
        """Read everything while no call is under way."""
        if not self._closed:
            self._note_what_is_there()
            if self.draw.random() > _REOPENED:
                return
            self._engine.close()  # The same batches must be there again.
        self._engine, self._closed = StorageEngine.open(self._root, options=OPTIONS), False
        self._note_what_is_there()

    def _note_what_is_there(self) -> None:
        with claimed_as_broken("looking at the engine"):
            self._journal.write("attempt", ["settled", *_found(self._engine, self._root)])

    def _call(self, kind: str) -> None:
        """Make a call, noted as an attempt and, if it returned, an acknowledgement. No table, or closed, are honest answers."""
        number = next(self._next)
        name = "ingest" if kind == "spill" else kind
        attempt = self._journal.attempt([name, number]) if name not in ("flush", "close") else None
        try:
            with claimed_as_broken(kind):
                saw = self._make(kind, number)
        except PromiseBroken as broken:
            if isinstance(broken.__cause__, UnknownTable | TableExists | EngineClosed):
                return
            raise
        if saw is not None:
            self._journal.write("attempt", ["saw", number, saw])
        elif attempt is not None:
            attempt.acknowledge()

    def _make(self, kind: str, number: int) -> list[int] | None:
        engine = self._engine
        match kind:
            case "create":
                engine.create_table(TABLE, SCHEMA, timestamp="at", tags=["name"])
            case "ingest" | "spill":
                engine.ingest(TABLE, _batch(number, _LARGE if kind == "spill" else _SMALL))
            case "truncate":
                engine.truncate(TABLE)
            case "drop":
                engine.drop_table(TABLE)
            case "transfer":
                engine.transfer(TABLE, self._root / ARCHIVE)
            case "read":
                return _numbers(engine.read(TABLE))
            case "flush":
                engine.flush()
            case "close":
                self._closed = True
                engine.close()
        return None
