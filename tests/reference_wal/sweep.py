"""Drives the engine and its log through one error at one failpoint, whatever may come after it, and a reopening.

A state is what is there: tables and the numbers of their batches. An operation that succeeded leads from each possible state
to one; an operation that failed may have taken effect, or not; one that was refused has not. The state found is a possible one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from crashmatrix import faults
from crashmatrix.reference_wal import (
    AppendFailed,
    EngineOptions,
    ReferenceWalError,
    StorageEngine,
    TransferFailed,
    WriteAheadLog,
)
from crashmatrix.reference_wal.settings import Settings
from crashmatrix.scenarios.systems.reference.data import MAIN, SCRATCH
from crashmatrix.scenarios.systems.reference.folder import leave_debris
from tests.reference_wal.driven import archived, batches_in, rows_of
from tests.reference_wal.support import SCHEMA as LOG_SCHEMA, batch

__all__ = ["TRIGGERS", "Log", "Sweep", "Trigger", "hits_of", "make_bases"]

State = frozenset[tuple[str, int]]
EXISTS = -1
"""Stands for the table itself."""

SEGMENT_BYTES_MAX = 3_500
OPTIONS = EngineOptions(segment_bytes_max=SEGMENT_BYTES_MAX, memory_bytes_max=100)
CHECKPOINTING = replace(OPTIONS, checkpoint_commits=1)
COMPRESSED = replace(OPTIONS, generation_bytes_max=1, compressed_bytes_max=1)
"""Each batch is a generation; once it is compressed there is more than the budget."""
IDLE = replace(OPTIONS, compressed_bytes_max=1 << 20, idle_seconds=3600, clock=partial(next, count(step=3600)))
"""The time passes whenever somebody looks at the clock."""
NEW = "new"


@dataclass(frozen=True)
class Operation:
    """A call, and its effect on a state."""

    name: str
    call: Callable[[Any], object]
    effect: Callable[[State], State] = lambda state: state
    table: str = ""
    adds: int | None = None
    commits: Callable[[str], bool] = lambda _: False
    """Whether it commits what waits of a table."""


def create(table: str) -> Operation:
    return Operation(f"create {table}", lambda system: system.create(table), lambda state: state | {(table, EXISTS)})


def ingest(table: str, number: int) -> Operation:
    def effect(state: State) -> State:
        return state | {(table, number)} if (table, EXISTS) in state and not _has(state, number) else state

    return Operation(
        f"ingest {number} into {table}", lambda system: system.ingest(table, number), effect, table, adds=number
    )


def _has(state: State, number: int) -> bool:
    return any(n == number for _, n in state)


def truncate(table: str) -> Operation:
    def effect(state: State) -> State:
        return frozenset(item for item in state if item[0] != table or item[1] == EXISTS)

    return Operation(f"truncate {table}", lambda system: system.truncate(table), effect, table)


def drop(table: str) -> Operation:
    def effect(state: State) -> State:
        return frozenset(item for item in state if item[0] != table)

    return Operation(f"drop {table}", lambda system: system.drop(table), effect, table)


def transfer(table: str) -> Operation:
    def effect(state: State) -> State:
        return frozenset((f"archive/{name}" if name == table and n != EXISTS else name, n) for name, n in state)

    return Operation(f"transfer {table}", lambda system: system.transfer(table), effect)


def mark(table: str, numbers: Sequence[int]) -> Operation:
    def effect(state: State) -> State:
        return state - {(table, number) for number in numbers}

    return Operation(f"mark {numbers} of {table}", lambda system: system.mark(table, numbers), effect)


def switch(on: bool, table: str | None = None) -> Operation:
    name = f"switch {table or 'all'} {'on' if on else 'off'}"
    return Operation(name, lambda system: system.switch(on, table), commits=lambda other: table in (None, other))


FLUSH = Operation("flush", lambda system: system.flush(), commits=lambda _: True)
CLOSE = Operation("close", lambda system: system.close(), commits=lambda _: True)
SET = Operation("set options", lambda system: system.set_options())
RESIZE = Operation("resize", lambda system: system.resize(MAIN))
FINISH_IDLE = Operation("finish idle", lambda system: system.finish_idle())
READ = Operation("read", lambda system: system.observe())
ROTATE = Operation("rotate", lambda system: system.rotate(MAIN))


class Engine:
    """The engine, as the operations call it."""

    wal = True

    def __init__(self, root: Path, options: EngineOptions = OPTIONS) -> None:
        self._root = root
        self._engine = StorageEngine.open(root, self.wal, options=options)

    def create(self, table: str) -> None:
        self._engine.create_table(table, rows_of(0).schema, timestamp="timestamp", tags=["station"])

    def ingest(self, table: str, number: int) -> None:
        self._engine.ingest(table, rows_of(number))

    def truncate(self, table: str) -> None:
        self._engine.truncate(table)

    def drop(self, table: str) -> None:
        self._engine.drop_table(table)

    def transfer(self, table: str) -> None:
        self._engine.flush()
        self._engine.transfer(table, self._root / "archive" / table)

    def flush(self) -> None:
        self._engine.flush()

    def finish_idle(self) -> None:
        self._engine.finish_idle()

    def switch(self, on: bool, table: str | None) -> None:
        self._engine.switch_log(on, table)

    def set_options(self) -> None:
        self._engine.change_options(segment_bytes_max=SEGMENT_BYTES_MAX, flush_seconds=None)

    def resize(self, table: str) -> None:
        self._engine.change_segment_size(table, 1)

    def close(self) -> None:
        self._engine.close()

    @property
    def tables(self) -> list[str]:
        return self._engine.tables

    def observe(self) -> State:
        found = [(table, number) for table in self.tables for number in batches_in(self._engine.read(table))]
        for folder in sorted((self._root / "archive").glob("[!.]*")):
            found += [(f"archive/{folder.name}", number) for number in archived(folder)]
        return self._once(found)

    def _once(self, found: list[tuple[str, Any]]) -> State:
        state = frozenset(found)
        assert len(state) == len(found) and all(type(number) is int for _, number in found), (
            f"twice or in part: {found}"
        )
        return state | {(table, EXISTS) for table in self.tables}


class UnloggedEngine(Engine):
    """The engine without a log: batches are promised by the next flush."""

    wal = False


class Log(Engine):
    """The log by itself; batch ``n`` of a table has the id ``n``."""

    def __init__(self, root: Path, options: EngineOptions = OPTIONS) -> None:
        self._log = WriteAheadLog(root, segment_bytes_max=options.segment_bytes_max)

    def create(self, table: str) -> None:
        self._log.create_table_log(table, LOG_SCHEMA)

    def ingest(self, table: str, number: int) -> None:
        self._log.append(table, batch(float(number)))

    def truncate(self, table: str) -> None:
        self._log.truncate(table)

    def drop(self, table: str) -> None:
        self._log.remove_table_log(table)

    def mark(self, table: str, numbers: Sequence[int]) -> None:
        ids = [found for found, rows in self._log.unpersisted(table) if rows["value"][0].as_py() in numbers]
        self._log.mark_persisted(table, ids)

    def rotate(self, table: str) -> None:
        self._log.log(table).rotate()

    def resize(self, table: str) -> None:
        self._log.log(table).segment_bytes_max = 1

    def close(self) -> None:
        self._log.close()

    @property
    def tables(self) -> list[str]:
        return self._log.tables

    def observe(self) -> State:
        return self._once(
            [(t, int(rows["value"][0].as_py())) for t in self.tables for _, rows in self._log.unpersisted(t)]
        )


@dataclass(frozen=True)
class Trigger:
    """An operation in which an error strikes, after what comes before it; ``operation`` None is opening."""

    name: str
    system: type[Engine]
    base: str
    operation: Operation | None
    before: Sequence[Operation] = ()
    options: EngineOptions = OPTIONS


def _engine(name: str, operation: Operation | None, *before: Operation, base: str = "engine") -> Trigger:
    options = CHECKPOINTING if operation in (FLUSH, CLOSE) else OPTIONS
    return Trigger(name, Engine, base, operation, before, options)


def _log(name: str, operation: Operation | None, *before: Operation) -> Trigger:
    return Trigger(f"log: {name}", Log, "log", operation, before)


def _unlogged(name: str, operation: Operation | None, *before: Operation) -> Trigger:
    return Trigger(f"no log: {name}", UnloggedEngine, "unlogged", operation, before)


WAITING = (ingest(MAIN, 30), ingest(SCRATCH, 31), ingest(MAIN, 32))

TRIGGERS = [
    _engine("rotate", ingest(MAIN, 20), *WAITING, RESIZE),
    _engine("ingest", ingest(MAIN, 20), *WAITING),
    _engine("create", create(NEW)),
    _engine("flush", FLUSH, *WAITING),
    _engine("truncate", truncate(MAIN), *WAITING),
    _engine("drop", drop(SCRATCH), *WAITING),
    _engine("transfer", transfer(MAIN), *WAITING, FLUSH),
    _engine("transfer again", transfer(MAIN), transfer(MAIN), *WAITING, FLUSH),
    _engine("switch off", switch(False, MAIN), *WAITING),
    _engine("switch all off", switch(False), *WAITING),
    _engine("set options", SET, *WAITING),
    Trigger("compress and commit", Engine, "engine", ingest(MAIN, 20), WAITING, COMPRESSED),
    Trigger("finish idle", Engine, "engine", FINISH_IDLE, WAITING, IDLE),
    _engine("close", CLOSE, *WAITING),
    _engine("open", None),
    _engine("open debris", None, base="debris"),
    _unlogged("flush", FLUSH, *WAITING),
    _unlogged("truncate", truncate(MAIN), *WAITING, FLUSH),
    _unlogged("drop", drop(SCRATCH)),
    _unlogged("switch on", switch(True, MAIN), *WAITING),
    _unlogged("switch all on", switch(True), *WAITING),
    _unlogged("close", CLOSE, *WAITING),
    _unlogged("open", None),
    _log("rotate", ROTATE),
    _log("append", ingest(MAIN, 20)),
    _log("append and rotate", ingest(MAIN, 20), RESIZE),
    _log("create", create(NEW)),
    _log("mark", mark(MAIN, [0, 1, 2, 4])),
    _log("truncate", truncate(MAIN)),
    _log("remove", drop(SCRATCH)),
    _log("open", None),
]
"""Every operation, so that every failpoint is in one of them. Operations after which most calls still succeed come first."""


def follow_ups(system: type[Engine]) -> list[Operation]:
    """Return the operations to try after the error: every kind, the destructive ones last."""
    gentle = [READ, ingest(MAIN, 40), ingest(SCRATCH, 41), create(NEW), create(SCRATCH), ingest(SCRATCH, 44)]
    if system is Log:
        own = [mark(SCRATCH, [10]), mark(MAIN, [0, 1]), ROTATE, create(NEW), ingest(MAIN, 43)]
    else:
        own = [
            FLUSH,
            ingest(MAIN, 43),
            switch(False, SCRATCH),
            ingest(SCRATCH, 45),
            SET,
            transfer(SCRATCH),
            switch(True),
        ]
        own += [ingest(MAIN, 46), transfer(MAIN)]
    return [*gentle, *own, truncate(SCRATCH), truncate(MAIN), drop(NEW), drop(SCRATCH), READ]


def make_bases(folder: Path) -> dict[str, tuple[Path, State]]:
    """Make the folders that scenarios begin with, and say what is in each."""
    made = {}
    for name, system in (("engine", Engine), ("unlogged", UnloggedEngine), ("log", Log)):
        made[name] = folder / name, _fill(system, folder / name)
    shutil.copytree(folder / "engine", folder / "debris")
    leave_debris(folder / "debris")
    _leave_debris_of_options(folder / "debris")
    made["debris"] = folder / "debris", made["engine"][1]
    return made


def _leave_debris_of_options(root: Path) -> None:
    Settings(root, {}).change({"segment_bytes_max": SEGMENT_BYTES_MAX})
    (root / "options.json.tmp").touch()


def _fill(system: type[Engine], root: Path) -> State:
    opened = system(root, CHECKPOINTING)
    steps = [create(MAIN), create(SCRATCH), *(ingest(MAIN, number) for number in range(3)), ingest(SCRATCH, 10), FLUSH]
    steps += [ingest(MAIN, 3), FLUSH, ingest(MAIN, 4), ingest(SCRATCH, 11), FLUSH, ingest(MAIN, 5), ingest(SCRATCH, 12)]
    state: State = frozenset()
    for step in steps:
        if step is not FLUSH or system is not Log:
            step.call(opened)
            state = step.effect(state)
    opened.close()
    return state


@dataclass
class Sweep:
    """A scenario: a trigger with an error at one failpoint."""

    trigger: Trigger
    root: Path
    states: set[State]
    system: Engine | None = None
    waiting: list[Operation] = field(default_factory=list)
    """Without a log: what no flush has promised."""
    late: list[Operation] = field(default_factory=list)
    """Failed appends, which reopening may find, whatever happened to the other rows."""
    done: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, trigger: Trigger, bases: dict[str, tuple[Path, State]], root: Path) -> Sweep:
        """Copy the trigger's folder, and do what comes before the error."""
        base, state = bases[trigger.base]
        shutil.copytree(base, root)
        sweep = cls(trigger, root, {state})
        if trigger.operation is not None:
            sweep.system = trigger.system(root, trigger.options)
            for operation in trigger.before:
                assert sweep.perform(operation), sweep.done
        return sweep

    def strike(self) -> None:
        """Do what the error is to strike in. It fails as the operating system or the package says, or not at all."""
        try:
            if self.trigger.operation is None:
                self.system = self.trigger.system(self.root)
            else:
                self.trigger.operation.call(self.system)
                self._certainly(self.trigger.operation)
        except (OSError, ReferenceWalError) as error:
            self.done.append(f"{self.trigger.name}: {error!r}")
            if self.trigger.operation is not None:
                self._perhaps(self.trigger.operation)

    def _perhaps(self, operation: Operation) -> None:
        self.states |= {operation.effect(state) for state in self.states}
        self._forget_waiting(operation)
        if operation.adds is not None:
            self.late.append(operation)

    def _certainly(self, operation: Operation) -> None:
        if operation.adds is not None and self.trigger.system is UnloggedEngine:
            self.states |= {operation.effect(state) for state in self.states}
            self.waiting.append(operation)
            return
        self._forget_waiting(operation)
        kept = [other for other in self.waiting if operation.commits(other.table)]
        for promised in (*kept, operation):
            self.states = {promised.effect(state) for state in self.states}
        self.waiting = [other for other in self.waiting if other not in kept]

    def _forget_waiting(self, operation: Operation) -> None:
        if operation.adds is None and operation.table:
            self.waiting = [other for other in self.waiting if other.table != operation.table]

    @property
    def goes_on(self) -> bool:
        """Return whether any operation is still accepted after the error."""
        return self.system is not None and self.perform(READ)

    def perform(self, operation: Operation) -> bool:
        """Do one more thing; whether it was done. It may be refused by the package's own errors only."""
        assert self.system is not None
        try:
            found = operation.call(self.system)
        except (AppendFailed, TransferFailed) as error:
            self.done.append(f"{operation.name}: {error!r}")
            self._perhaps(operation)
            return False
        except ReferenceWalError as error:
            self.done.append(f"{operation.name}: {error!r}")
            return False
        self.done.append(f"{operation.name}: done")
        self._certainly(operation)
        assert found is None or found in self.states, self._difference(found)
        return True

    def finish(self) -> None:
        """Close, reopen: what is there is possible, more can be added, and all of it stays."""
        if self.system is not None:
            self.system.close()
        self.system = self.trigger.system(self.root)
        found = self.system.observe()
        for operation in self.late:
            self.states |= {operation.effect(state) for state in self.states}
        assert found in self.states, self._difference(found)
        self.states, self.waiting = {found}, []
        more = [ingest(table, number) for table, number in ((MAIN, 51), (SCRATCH, 52)) if (table, EXISTS) in found]
        for operation in more if self.trigger.system is Log else [*more, FLUSH]:
            assert self.perform(operation), self.done
        self.system.close()
        found = self._reopened()
        assert found in self.states, self._difference(found)

    def _reopened(self) -> State:
        system = self.trigger.system(self.root)
        try:
            return system.observe()
        finally:
            system.close()

    def _difference(self, found: object) -> str:
        assert isinstance(found, frozenset)
        near = min(self.states, key=lambda state: len(state ^ found))
        return f"missing {sorted(near - found)}, too much {sorted(found - near)} after\n" + "\n".join(self.done)


@contextmanager
def _observed() -> Iterator[list[str]]:
    seen: list[str] = []
    faults.observe(lambda point, _: seen.append(point.name))
    try:
        yield seen
    finally:
        faults.observe(None)


def hits_of(trigger: Trigger, bases: dict[str, tuple[Path, State]], root: Path) -> list[str]:
    """Return the failpoints that the trigger's operation passes undisturbed."""
    sweep = Sweep.begin(trigger, bases, root)
    with _observed() as seen:
        sweep.strike()
    assert sweep.system is not None
    sweep.system.close()
    return list(dict.fromkeys(seen))
