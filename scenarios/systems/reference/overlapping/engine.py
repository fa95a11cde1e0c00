"""The reference engine with its calls overlapping: writers and a background thread at once, then each pair of calls, one held.

A pair: the first call runs in a thread, and is held (`held`) at its k-th hit of a failpoint; the second one is made meanwhile. It
returns, or it waits for the first, which is then let go. Then the same with the first call held between two of its critical
sections. For every pair of `CALLS`, each k up to the end of the first call is tried, or so many as `HELD`, drawn with the seed.
Before the pairs, each call is held at every place, and the table read there; and each call fails a few times while another one
waits for it. Where nothing is under way, the table is read and noted, and now and then a copy of the folder is opened, which
must have the same rows.

``switch`` takes the table's log away and gives it one again. A batch is acknowledged if there is a log when its call returned: it
is in that log, or was committed before the table got that.

Items and contract: `contract`. Meant for kills: few hits come in the same order twice, so killed runs are judged, not compared.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import count, groupby
from operator import itemgetter
from pathlib import Path
from typing import ClassVar

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.errors import EngineClosed, ReferenceWalError, TableExists, UnknownTable
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken, failing_disk, noting
from crashmatrix.scenarios.systems.reference.oracle.damage import copy_of
from crashmatrix.scenarios.systems.reference.overlapping.contract import OverlapContract
from crashmatrix.scenarios.systems.reference.overlapping.held import Caller, Held
from crashmatrix.scenarios.systems.reference.overlapping.shared_table import (
    LARGE,
    SCHEMA,
    SMALL,
    TABLE,
    batch_of,
    batches_in,
    files_in,
    moved_in,
    numbers_in,
)
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["CALLS", "ThreadedEngine"]

ARCHIVE = "moved"
CALLS = ("ingest", "flush", "truncate", "drop", "transfer", "read", "spill", "switch", "close")
HELD = 1
"""At how many hits the first call of each pair is held; 0 for all."""
WRITERS, EACH = 3, 4
_HITS_MAX = 30
"""Hits, or places between sections, that are drawn from as long as it is not known how many a call has."""
_LEFT_OUT = 0.6
"""The share of drawn places that are left out: in five pairs four are tried, at a hit or between sections."""
_FEW = 4
"""A call with so few places between sections is held at each of them."""
_REOPENED = 0.3
"""The share of pairs after which the engine is opened again."""
COPIED = 0.15
"""The share of pairs after which a copy of the folder is opened."""
_WAITING = ("ingest", "read")
"""The calls made while another call is held at a hit, and then fails there; a third one is drawn."""
_SPILLED = 0.3
"""The share of pairs before which the rows that wait are in a file."""
_THREE = 0.4
"""The share of pairs in which a batch is ingested before the second call."""
_BATCHES_MAX = 3
"""Above so many batches the table is truncated before a pair: a transfer may have moved any of them."""

OPTIONS = EngineOptions(segment_bytes_max=3_000, memory_bytes_max=6_000, checkpoint_commits=2)


class ThreadedEngine(SystemUnderTest):
    """The reference engine, called by several threads.

    Args:
        held: at how many hits the first call of each pair is held; 0 for all.
        pairs: the pairs to try, ``first+second``; all if not given.
    """

    failpoints_suffice = True
    contract = OverlapContract()
    unreached: ClassVar[Sequence[str]] = ("",)  # The schedule decides which failpoints are hit.

    def __init__(self, held: int = HELD, pairs: Sequence[str] = ()) -> None:
        self._held = held
        self._pairs = [pair.split("+") for pair in pairs] or [[one, two] for one in CALLS for two in CALLS]

    def workload(self, root: Path, journal: Journal) -> None:
        """Writers with a background thread; calls that are watched; some that fail; then the pairs, in a drawn order."""
        run = _Run(root, journal, self.seed)
        with noting(journal):
            run.writers()
            for first in dict.fromkeys(first for first, second in self._pairs if "read" in (first, second)):
                run.watched(first)
                run.failing(first)
            for first, second in run.draw.sample(self._pairs, len(self._pairs)):
                run.pair(first, second, self._held)
            run.end()

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the engine; return one item: the table's batches, and those moved."""
        with StorageEngine.open(root, options=OPTIONS) as engine:
            return [["found", batches_in(engine), moved_in(root / ARCHIVE, {})]]


class _Run:
    """A run of the workload: the engine, opened again wherever it was closed, and the number of the next call."""

    def __init__(self, root: Path, journal: Journal, seed: int) -> None:
        self._root, self._journal, self._seed, self._next = root, journal, seed, count()
        self.draw = random.Random(f"{seed} threads")
        self._engine = StorageEngine.open(root, options=OPTIONS)
        self._closed = self._failed = False
        self._known: dict[str, list[int]] = {}
        self._watched: dict[str, Held] = {}
        """The calls that were held at each place."""

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

    def watched(self, first: str) -> None:
        """Hold a call at each place, and read there, unless it is itself a read."""
        self._make_ready()
        held, readers = Held(None), list[Caller]()
        with held.installed():
            one = Caller(lambda: held.call(partial(self._call, first)))
            while held.wait(one):
                if not any(reader.is_alive() for reader in readers):  # One may wait for the call that is held.
                    readers.append(Caller(partial(self._call, "read")))
                    readers[-1].go_as_far_as_it_can()
                held.let_go()
            for caller in (one, *readers):
                caller.finish()
        self._watched[first] = held
        self._settle()

    def failing(self, first: str) -> None:
        """Let a call fail at one hit between any two of its places, while others wait for it."""
        self.draw = random.Random(f"{self._seed} {first} fails")
        for _, hits in groupby(enumerate(self._watched[first].sections, start=1), key=itemgetter(1)):
            self._make_ready()
            held = Held(self.draw.choice([*hits])[0], fails=True)
            self._overlap(first, [*_WAITING, self.draw.choice(CALLS)], held)
            self._settle()

    def pair(self, first: str, second: str, held: int) -> None:
        """Hold the first call at one place after the other, or at drawn ones, and make the second one."""
        for between in (False, True):
            most = self._most(first, between)
            drawn = held > 0 and not (between and most <= _FEW)
            for turn in range(1, held + 1) if drawn else count(1):
                # A generator for each: what one pair comes to does not change what is drawn for the next.
                self.draw = random.Random(f"{self._seed} {first} {second} {between} {turn}")
                if drawn and self.draw.random() < _LEFT_OUT:
                    continue
                self._make_ready()
                place = Held(self.draw.randint(1, most) if drawn else turn, between=between)
                # A third call may find that the held one is out of turn.
                meanwhile = ["ingest", second] if self.draw.random() < _THREE else [second]
                reached = self._overlap(first, meanwhile, place)
                self._settle()
                if not reached and not drawn:
                    break  # The first call has no such place.

    def _most(self, first: str, between: bool) -> int:
        """How many hits a call has, or places, as far as is known."""
        watched = self._watched.get(first)
        return max(1, watched.places if between else watched.hits) if watched else _HITS_MAX

    def _overlap(self, first: str, meanwhile: Sequence[str], held: Held) -> bool:
        """Make calls while one is held, each in a thread of its own. Once `close` has returned, nothing changes in the folder."""
        left: dict[str, tuple[int, int]] | None = None
        with held.installed():
            one = Caller(lambda: held.call(partial(self._call, first)))
            reached = held.wait(one)
            for second in meanwhile if reached else ():
                held.others.append(Caller(partial(self._call, second)))
                held.others[-1].go_as_far_as_it_can()
                if second == "close" and not held.others[-1].is_alive():
                    left = files_in(self._root)
            held.let_go()
            for caller in (one, *held.others):
                try:
                    caller.finish()
                except (ReferenceWalError, OSError) as error:
                    if not (held.fails and failing_disk(error)):
                        raise
                    self._failed = True
        if left is not None and (there := files_in(self._root)) != left:
            with claimed_as_broken("looking at the folder once the engine was closed"):
                changed = sorted(dict(left.items() ^ there.items()))
                raise PromiseBroken("corrupt", f"a {first} that was under way changed {', '.join(changed)}")
        return reached

    def _make_ready(self) -> None:
        """A table with a committed batch, and one that waits, in memory or spilled; few others."""
        table = batches_in(self._engine)
        if table is None:
            self._call("create")
        elif len(table) > _BATCHES_MAX:
            self._call("truncate")
        self._calls(["ingest", "flush", "spill" if self.draw.random() < _SPILLED else "ingest"])

    def _settle(self) -> None:
        """Read everything while no call is under way."""
        if not self._closed:
            if not self._failed:
                self._note_what_isbatches_in()
                if self.draw.random() < COPIED:
                    self._look_at_a_copy()
                if self.draw.random() > _REOPENED:
                    return
            self._engine.close()  # The same batches must be there again.
        with claimed_as_broken("opening the engine again"):
            self._engine, self._closed = StorageEngine.open(self._root, options=OPTIONS), False
        self._failed = False
        self._note_what_isbatches_in()

    def _note_what_isbatches_in(self) -> None:
        with claimed_as_broken("looking at the engine"):
            if TABLE in self._engine.tables and not self._engine.has_log(TABLE):
                self._engine.switch_log(True, TABLE)  # The other call came between.
            self._journal.write(
                "attempt", ["settled", batches_in(self._engine), moved_in(self._root / ARCHIVE, self._known)]
            )

    def _look_at_a_copy(self) -> None:
        """Open a copy of the folder, as after a kill at this place, and compare: each call that returned is durable."""
        with (
            copy_of(self._root) as copy,
            claimed_as_broken("opening a copy of the folder"),
            StorageEngine.open(copy, options=OPTIONS) as engine,
        ):
            found, there = batches_in(engine), batches_in(self._engine)
        if found != there:
            verdict = "loses" if set(found or []) < set(there or []) else "corrupt"
            raise PromiseBroken(verdict, f"a kill now would leave the batches {found}; the engine has {there}")

    def _call(self, kind: str) -> None:
        """Make a call, noted as an attempt and, if it returned, an acknowledgement. No table, or closed, are honest answers."""
        number = next(self._next)
        name = "ingest" if kind == "spill" else kind
        attempt = self._journal.attempt([name, number]) if name not in ("flush", "close") else None
        try:
            with claimed_as_broken(kind):
                saw = self._make(kind, number)
                promised = name != "ingest" or self._engine.has_log(TABLE)
        except PromiseBroken as broken:
            if isinstance(broken.__cause__, UnknownTable | TableExists | EngineClosed):
                return
            raise
        if saw is not None:
            self._journal.write("attempt", ["saw", number, saw])
        elif attempt is not None and promised:
            attempt.acknowledge()

    def _make(self, kind: str, number: int) -> list[int] | None:
        engine = self._engine
        match kind:
            case "create":
                engine.create_table(TABLE, SCHEMA, timestamp="at", tags=["name"])
            case "ingest" | "spill":
                engine.ingest(TABLE, batch_of(number, LARGE if kind == "spill" else SMALL))
            case "truncate":
                engine.truncate(TABLE)
            case "drop":
                engine.drop_table(TABLE)
            case "transfer":
                engine.transfer(TABLE, self._root / ARCHIVE)
            case "read":
                return numbers_in(engine.read(TABLE))
            case "flush":
                engine.flush()
            case "switch":
                engine.switch_log(False, TABLE)
                engine.switch_log(True, TABLE)
            case "close":
                self._closed = True
                engine.close()
        return None
