"""The reference engine while its settings change: logs switched on and off, options set, in one table and in all of them.

Table ``a`` begins with a log, ``b`` without one. Each order of switching, truncating, dropping and making anew is in the script.
A batch has a number of its own, whichever table has the name by then: rows of an earlier table, or of a log that was
switched off, show as phantoms.

Promises: with a log, a batch is acknowledged when `ingest` returns. Without one, when the next `flush`, `switch_log` of the
table, or `close` has returned; until then a crash may take it, with every later batch of the table. All else is
acknowledged when the call returns. Switching all tables is one attempt for each table, and one for tables to come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.folder import digest_of
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken, noting
from crashmatrix.scenarios.systems.reference.oracle.active_segments import ActiveSegments
from crashmatrix.scenarios.systems.reference.oracle.apart.ended_engines import judge_ended_engines
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import in_first_run
from crashmatrix.scenarios.systems.reference.oracle.damage import refuse_damage
from crashmatrix.scenarios.systems.reference.oracle.each_byte import refuse_while_open
from crashmatrix.scenarios.systems.reference.outcomes import Outcome, TableContract
from crashmatrix.scenarios.target.journal import Attempt, Item, Journal, Promises
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["COMPRESSED", "IDLE_SECONDS", "SwitchContract", "SwitchedEngine", "batch_of", "batches_in"]

SCHEMA = pa.schema([("timestamp", pa.int64()), ("station", pa.string()), ("batch", pa.int64())])
_ROWS = 4
_BATCH_BYTES, _RECORD_BYTES = 100, 800
"""A batch in memory has about so many, its record in the log at most so many."""
_OPTIONS = EngineOptions(
    segment_bytes_max=3 * 1024, preallocate_bytes=512, generation_bytes_max=3 * _BATCH_BYTES,
    memory_bytes_max=_BATCH_BYTES, checkpoint_commits=4,
)  # fmt: skip
_SPILL_CHANGES = 16
IDLE_SECONDS = 3600.0
"""After so long a table is idle. The script lets the time pass; the engine's own thread does not wake meanwhile."""
COMPRESSED = ("engine.finish.", "engine.save.", "engine.idle.")
"""Failpoints of compressed rows that wait: ``reference:compressed`` passes them."""

_BEFORE = "create:a:1 create:b:0 a b flush a"

_DURING = """
    a b b off:a a b truncate:a a on:a a memory_bytes_max:150
    reopen
    on:b b b truncate:b b off:b b drop:b segment_bytes_max:2000 a a a create:b:1 b
    reopen
    off:b b off:b b flush drop:b create:b:0 b on:b b off:a drop:a memory_bytes_max:60
    reopen
    create:a:1 a off a b a truncate:b b drop:a b idle_seconds:1000.5 idle_seconds:none
    reopen
    create:a:default-0 a a b on a b
    reopen
    flush a b
"""
"""Words: a table's name for its next batch; ``on:TABLE`` and ``off:TABLE``, for all tables without a name; the rest is as in
`operations`. A new table has a log (1) or none (0), as requested or by default. An option has its value, or ``none``. ``wait``:
half the time passes after which a table is idle; ``idle``: what is idle is finished."""

_LATER = "{missing} a b off:a a on b a segment_bytes_max:2100 truncate:b off:b b flush b"


class SwitchContract(TableContract):
    """Exactly the acknowledged operations took effect, in order for each table and option, and perhaps the one in flight.

    Items: ``["create", TABLE, LOGGED]``, ``["switch", TABLE, LOGGED]``, ``["ingest", TABLE, BATCH]``, ``["truncate", TABLE]``,
    ``["drop", TABLE]``, ``["option", NAME, VALUE]``. Recovery returns creations with what is logged now, batches and options.
    """

    def apply(self, state: Outcome, item: Item) -> Outcome:
        """Return the state after an operation."""
        kind, name = item[0], item[1]
        match kind:
            case "drop":
                return {table: items for table, items in state.items() if table != name}
            case "truncate":
                return {**state, name: state[name][:1]}
            case "ingest":
                return {**state, name: [*state[name], item]}
            case "switch":
                return {**state, name: [["create", name, item[2]], *state[name][1:]]}
        return {**state, name: [item]}

    def items(self, outcome: Outcome) -> list[Item]:
        """Return what recovery returns of a state."""
        return [item for name in sorted(outcome) for item in outcome[name]]


class SwitchedEngine(SystemUnderTest):
    """The reference engine with tables whose logs are switched, and options set, while it runs."""

    failpoints_suffice = True
    scripts: ClassVar[tuple[str, str, str]] = (_BEFORE, _DURING, _LATER)
    """The words for before the first crash point, for the workload, and for a second life."""
    options: ClassVar[EngineOptions] = _OPTIONS
    contract = SwitchContract()
    boundaries: ClassVar[Sequence[str]] = ("engine.switch.", "options.file.")
    unreached: ClassVar[Sequence[str]] = (
        "wal.persist.", "transfer.", "orphan.", "checkpoint.", "engine.transfer.", "recovery.", "rows.", "wal.rotate.",
        "wal.retire.", "drop.", "spill.", "wal.segment.", *COMPRESSED,
    )  # fmt: skip  # The other targets of the engine pass those that this one does not.
    stable_recovery = True

    def __init__(self) -> None:
        self._clock = _Clock()

    def _open(self, root: Path, session: int = 0) -> StorageEngine:
        # A table made anew is another table than the one before, so no session makes two of a name.
        options = replace(self.options, identity=f"switched-{session}", clock=self._clock)
        return StorageEngine.open(root, options=options)

    def prepare(self, root: Path) -> Sequence[Item]:
        """Make the tables, with a few batches: one waits in the log."""
        with self._open(root) as engine:
            session = _Session(engine, None, _Numbers(0), self._clock)
            for word in self.scripts[0].split():
                session.do(word)
            session.settle()
            return _found(engine)

    def workload(self, root: Path, journal: Journal) -> None:
        """Follow the script."""
        numbers = _Numbers(100)
        with noting(journal):
            for session, words in enumerate(self.scripts[1].split("reopen"), 1):
                self._follow(root, session, words.split(), journal, numbers)
            in_first_run(
                self.workspace,
                partial(refuse_damage, root, self._read, self.seed),
                partial(refuse_while_open, root, self._spilled, self.seed, times=_SPILL_CHANGES, strict=True),
                judge_ended_engines,
            )

    def _spilled(self, root: Path) -> Iterator[tuple[list[Path], Callable[[], object]]]:
        """Open the engine and spill a batch of each table; yields the spill files and what reads them."""
        with self._open(root) as engine:
            for table in engine.tables:
                engine.ingest(table, batch_of(0))
            yield sorted(root.glob("spill/*/*.arrow")), lambda: [engine.read(table) for table in engine.tables]

    def _follow(self, root: Path, number: int, words: Sequence[str], journal: Journal, numbers: _Numbers) -> None:
        with self._open(root, number) as engine:
            session = _Session(engine, journal, numbers, self._clock)
            for word in words:
                session.do(word)
        session.settle()  # Closing has committed what no log holds.

    def resume(self, root: Path, journal: Journal) -> None:
        """Go on with what recovery found."""
        there = {item[1] for item in journal.recovered if item[0] == "create"}
        missing = " ".join(f"create:{table}:1" for table in "ab" if table not in there)
        with noting(journal):
            self._follow(root, 99, self.scripts[2].format(missing=missing).split(), journal, _Numbers(1000))

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the engine; return its tables, whether each has a log, their batches, and the options that were set."""
        return self._read(root, lambda: None)

    def _read(self, root: Path, opened: Callable[[], None]) -> list[Item]:
        with self._open(root) as engine:
            opened()
            return _found(engine)

    def verify(self, root: Path, promises: Promises) -> None:
        """A table has a folder of a log exactly if it says so, and the log holds no batch that Delta holds."""
        del promises
        with self._open(root) as engine:
            logs = {path.name for path in (root / "wal").iterdir()}
            if logs != {table for table in engine.tables if engine.has_log(table)}:
                raise PromiseBroken("corrupt", f"there are the logs {sorted(logs)}, which is not what the tables say")
            options = {name: getattr(engine.options, name) for name in engine.options_set if name != "wal"}
            if any(engine.options_set[name] != value for name, value in options.items()):
                raise PromiseBroken("corrupt", f"the options in force are {options}, not {dict(engine.options_set)}")

    def fingerprint(self, root: Path) -> str:
        """Digest the folder without what deltalake dates or draws at random."""
        return digest_of(root)


class _Numbers:
    """The numbers of batches, given out one after the other."""

    def __init__(self, first: int) -> None:
        self._next = first

    def take(self) -> int:
        self._next += 1
        return self._next - 1


class _Clock:
    """A clock that the script sets forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _Session:
    """An opening of the engine: does one word of the script after the other, and tells the journal, if there is one."""

    def __init__(self, engine: StorageEngine, journal: Journal | None, numbers: _Numbers, clock: _Clock) -> None:
        self._engine, self._journal, self._numbers, self._clock = engine, journal, numbers, clock
        self._unflushed: list[Attempt] = []
        self._segments = ActiveSegments(_RECORD_BYTES)
        self._rows = {table: batches_in(engine.read(table), table) for table in engine.tables}

    def do(self, word: str) -> None:
        """Do what the word says, and look at the living engine afterwards."""
        kind, table, value = (*word.split(":"), "", "")[:3]
        with claimed_as_broken(word):
            attempts = (
                [self._journal.attempt(item) for item in self._items(kind, table, value)] if self._journal else []
            )
            self._call(kind, table, value, attempts)
            self._look(word)

    def _items(self, kind: str, table: str, value: str) -> Iterator[Item]:
        if kind in ("a", "b"):
            return
        if kind in ("on", "off"):
            yield from ([["switch", table, kind == "on"]] if table else [["option", "wal", kind == "on"]])
            yield from ([] if table else [["switch", name, kind == "on"] for name in self._engine.tables])
        elif kind == "create":
            yield ["create", table, value.endswith("1")]
        elif kind in ("truncate", "drop"):
            yield [kind, table]
        elif kind not in ("flush", "wait", "idle"):
            yield ["option", kind, _number(table)]

    def _call(self, kind: str, table: str, value: str, attempts: list[Attempt]) -> None:
        match kind:
            case "a" | "b":
                self._ingest(kind)
            case "on" | "off":
                self._engine.switch_log(kind == "on", table or None)
                self.settle(table)
            case "create":
                wal = {"0": False, "1": True}.get(value)
                self._engine.create_table(table, SCHEMA, timestamp="timestamp", tags=["station"], wal=wal)
                self._rows[table] = []
            case "truncate":
                self._engine.truncate(table)
                self._rows[table] = []
                self._forget(table)
            case "drop":
                self._engine.drop_table(table)
                del self._rows[table]
                self._forget(table)
            case "flush":
                self._engine.flush()
                self.settle()
            case "wait":
                self._clock.now += IDLE_SECONDS / 2
            case "idle":
                self._engine.finish_idle()
            case _:
                self._engine.change_options(**{kind: _number(table)})
        for attempt in attempts:
            attempt.acknowledge()

    def _ingest(self, table: str) -> None:
        number = self._numbers.take()
        attempt = self._journal.attempt(["ingest", table, number]) if self._journal else None
        self._engine.ingest(table, batch_of(number))
        self._rows[table].append(number)
        if attempt:
            self._unflushed.append(attempt)
            if self._engine.has_log(table):
                self.settle(table)

    def settle(self, table: str = "") -> None:
        """Acknowledge the batches that are promised by now, of this table or of all."""
        for attempt in [one for one in self._unflushed if table in ("", one.item[1])]:
            attempt.acknowledge()
            self._unflushed.remove(attempt)

    def _forget(self, table: str) -> None:
        self._unflushed = [one for one in self._unflushed if one.item[1] != table]

    def _look(self, word: str) -> None:
        found = {table: batches_in(self._engine.read(table), table) for table in self._engine.tables}
        if found != {table: sorted(numbers) for table, numbers in self._rows.items()}:
            raise PromiseBroken("corrupt", f"after {word} the engine returns the batches {found}, not {self._rows}")
        if word in found and self._engine.has_log(word):
            self._segments.appended(self._engine.root / "wal" / word, self._engine.options.segment_bytes_max)
        else:
            self._segments.forget()


def _number(word: str) -> float | None:
    """Read the value of an option: a whole number, one of seconds, or none."""
    return None if word == "none" else float(word) if "." in word else int(word)


def _found(engine: StorageEngine) -> list[Item]:
    items: list[Item] = [["option", name, value] for name, value in engine.options_set.items()]
    for table in engine.tables:
        items.append(["create", table, engine.has_log(table)])
        items += [["ingest", table, number] for number in batches_in(engine.read(table), table)]
    return items


def batch_of(number: int) -> pa.RecordBatch:
    """Return batch ``number``: rows of two series."""
    times = range(number * _ROWS, (number + 1) * _ROWS)
    return pa.record_batch([list(times), ["x", "y"] * (_ROWS // 2), [number] * _ROWS], schema=SCHEMA)


def batches_in(rows: pa.Table, where: str) -> list[int]:
    """Return the numbers of the batches that these rows are, in order, each as often as it is there. Raises PromiseBroken."""
    found = sorted(rows.to_pylist(), key=lambda row: row["timestamp"])
    numbers = [row["batch"] for row in found if row["timestamp"] % _ROWS == 0]
    due = [row for number in sorted(numbers) for row in batch_of(number).to_pylist()]
    if found != sorted(due, key=lambda row: row["timestamp"]):
        raise PromiseBroken("corrupt", f"{where}: {len(found)} rows are no whole batches {numbers}")
    return numbers
