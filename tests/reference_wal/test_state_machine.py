"""The engine and its log against plain models, through any sequence of operations, kills, and kills in recovery.

`make fuzz` tries many more sequences than a test run does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings, strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from crashmatrix import PromiseBroken
from crashmatrix.scenarios.stateful.state_machine import CrashStateMachine, OperationFailed
from crashmatrix.scenarios.target.contract import Contract, Violation
from crashmatrix.scenarios.target.journal import Item, Promises
from tests.reference_wal.driven import DrivenEngine, DrivenLog

FUZZ = settings(max_examples=3_000, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
QUICK = settings(FUZZ, max_examples=8, stateful_step_count=30, derandomize=True, database=None)
PROFILE = FUZZ if os.environ.get("CRASHMATRIX_FUZZ") else QUICK
SEARCH = settings(QUICK, max_examples=200, phases=(Phase.generate,), report_multiple_bugs=False)

TABLES = ("one", "two")
tables = st.sampled_from(TABLES)


class Anything(Contract):
    """The model judges instead: it knows exactly what may be there."""

    def check(self, promises: Promises, recovered: Sequence[Item]) -> list[Violation]:
        return []


def contents(items: list[Item]) -> dict[str, Any]:
    """Return what each table holds; an archive without rows is as good as none."""
    return {name: held for name, held in items if held or not name.startswith("archive/")}


class ModelledMachine(CrashStateMachine):
    """A machine whose model is what each table holds; an operation that a crash cut short took effect wholly or not at all."""

    contract = Anything()
    power_cuts_max = 0  # the power experiment's part

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Any] = {}
        self.in_flight = self.model
        self.crashes = self.next = 0
        self.changed = False

    def change(self, operation: str, *arguments: Any, after: dict[str, Any]) -> Any:
        """Do it; the model is ``after`` then, or what recovery found if a crash came in between."""
        self.in_flight, crashes, self.changed = after, self.crashes, True
        result = self.do(operation, *arguments)
        if crashes == self.crashes:
            self.model = after
        self.in_flight = self.model
        return result

    def unchanged(self, operation: str, *arguments: Any) -> None:
        self.change(operation, *arguments, after=self.model)

    def crashed(self, items: list[Item]) -> None:
        found = contents(items)
        assert found in (self.model, self.in_flight), f"recovered {found}, after {self.model} or {self.in_flight}"
        self.model = self.in_flight = found
        self.crashes += 1

    @invariant()
    def agrees(self) -> None:
        crashes, found = self.crashes, self.do("items")
        assert crashes < self.crashes or contents(found) == self.model, f"there is {found}, not {self.model}"

    def new_number(self) -> int:
        self.next += 1
        return self.next

    @property
    def existing_tables(self) -> list[str]:
        return [table for table in TABLES if table in self.model]

    def existing(self, table: str) -> str:
        """Return this table if there is one of the name, else one that there is."""
        return table if table in self.model else self.existing_tables[0]

    @initialize()
    def begin(self) -> None:
        self.create()

    @precondition(lambda self: len(self.existing_tables) < len(TABLES))
    @rule()
    def create(self) -> None:
        table = min(set(TABLES) - set(self.model))
        self.change("create", table, after={**self.model, table: []})

    @precondition(lambda self: any(self.model[table] for table in self.existing_tables))
    @rule(table=tables)
    def truncate(self, table: str) -> None:
        table = self.existing(table)
        self.change("truncate", table, after={**self.model, table: []})

    @precondition(lambda self: self.changed)
    @rule()
    def reopen(self) -> None:
        self.unchanged("reopen")
        self.changed = False


class EngineMachine(ModelledMachine):
    """The engine; the model has the batches of each table."""

    open = DrivenEngine
    buffered = False

    @precondition(lambda self: self.existing_tables)
    @rule(table=tables, batches=st.integers(1, 3))
    def ingest(self, table: str, batches: int) -> None:
        table = self.existing(table)
        for _ in range(batches):
            number = self.new_number()
            self.change("ingest", table, number, after={**self.model, table: [*self.model[table], number]})
            self.buffered = True

    @precondition(lambda self: self.buffered)
    @rule()
    def flush(self) -> None:
        self.unchanged("flush")
        self.buffered = False

    @precondition(lambda self: self.existing_tables)
    @rule(table=tables)
    def drop(self, table: str) -> None:
        table = self.existing(table)
        self.change("drop", table, after={name: held for name, held in self.model.items() if name != table})

    @precondition(lambda self: any(self.model[table] for table in self.existing_tables))
    @rule(table=tables)
    def transfer(self, table: str) -> None:
        table = self.existing(table)
        place = f"archive/{table}"
        moved = sorted([*self.model.get(place, []), *self.model[table]])
        after = {**self.model, table: [], place: moved}
        self.change("transfer", table, after={name: held for name, held in after.items() if held or name != place})


CompressedMachine = type(
    "CompressedMachine", (EngineMachine,), {"open": partial(DrivenEngine, compressed_bytes_max=4_000)}
)
"""The engine, in which two or three compressed generations may wait."""


class LogMachine(ModelledMachine):
    """The log by itself; the model has the id and batch of every batch not marked persisted."""

    open = DrivenLog

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[str, int] = {}

    @precondition(lambda self: self.existing_tables)
    @rule(table=tables, batches=st.integers(1, 3))
    def append(self, table: str, batches: int) -> None:
        table = self.existing(table)
        for _ in range(batches):
            number, expected = self.new_number(), self.ids.get(table, 0)
            logged = [*self.model[table], [expected, number]]
            given = self.change("append", table, number, after={**self.model, table: logged})
            assert given in (None, expected)
            if self.model[table] == logged:
                self.ids[table] = expected + 1

    @precondition(lambda self: any(self.model[table] for table in self.existing_tables))
    @rule(table=tables, data=st.data())
    def mark(self, table: str, data: st.DataObject) -> None:
        table = self.existing(table)
        table = table if self.model[table] else max(self.existing_tables, key=lambda name: len(self.model[name]))
        logged = self.model[table]
        ids = data.draw(st.sets(st.sampled_from([number for number, _ in logged]), min_size=1))
        left = [entry for entry in logged if entry[0] not in ids]
        self.change("mark", table, sorted(ids), after={**self.model, table: left})

    @precondition(lambda self: self.existing_tables)
    @rule(table=tables)
    def rotate(self, table: str) -> None:
        self.unchanged("rotate", self.existing(table))

    @precondition(lambda self: self.existing_tables)
    @rule(table=tables, segment_bytes_max=st.sampled_from((1, 2_000, 100_000)))
    def threshold(self, table: str, segment_bytes_max: int) -> None:
        self.unchanged("threshold", self.existing(table), segment_bytes_max)

    @precondition(lambda self: self.existing_tables)
    @rule(table=tables)
    def remove(self, table: str) -> None:
        table = self.existing(table)
        self.change("remove", table, after={name: held for name, held in self.model.items() if name != table})
        if table not in self.model:
            self.ids.pop(table, None)


@pytest.mark.lengthy
@pytest.mark.parametrize(
    "machine", [EngineMachine, LogMachine, pytest.param(CompressedMachine, marks=pytest.mark.slow)]
)
def test_agrees_with_its_model(machine: type[CrashStateMachine]) -> None:
    """After any sequence of operations and kills, exactly what was promised is there."""
    run_state_machine_as_test(machine, settings=PROFILE)


@pytest.mark.daily(1)
@pytest.mark.experiment
@pytest.mark.parametrize("bug", ["ids-from-zero", "commit-in-parts", "skip-marker"])
def test_planted_bug_is_found(bug: str) -> None:
    """The machine can fail: it finds bugs that are known to be there, as a wrong content or as an error of the engine's."""
    machine = type("Machine", (EngineMachine,), {"open": partial(DrivenEngine, bug=bug)})
    with pytest.raises((AssertionError, PromiseBroken, OperationFailed)):
        run_state_machine_as_test(machine, settings=SEARCH)
