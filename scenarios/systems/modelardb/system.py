"""ModelarDB's write-ahead log, as published: batches of several series, a rotation every few, one restart on the way.

ModelarDB (https://github.com/ModelarData/ModelarDB-RS) logs each batch for a time series table before it buffers it: a folder
a table, the segment being written ``{start}-.arrows``, closed ones ``{start}-{end}.arrows``. `log` has the algorithm.

The log was read as it was in #376 (https://github.com/ModelarData/ModelarDB-RS/pull/376) and after its next id was fixed in
#389 (https://github.com/ModelarData/ModelarDB-RS/pull/389): ``crates/modelardb_storage/src/write_ahead_log.rs``. Not read, and
so assumed: the server code that carries ids from buffers to commits (taken to be: a commit names every batch of which it holds
points), and when a buffer is committed. Simplified: one table, no compression, few batches a segment.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from deltalake import DeltaTable

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.modelardb.log import SCHEMA, SEGMENT_BATCHES, Engine
from crashmatrix.scenarios.systems.values import ITEMS, LATER, digest_of, value_of
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["ModelarDB"]

_RESTARTS_BEFORE = 4 * SEGMENT_BATCHES
_SYNC_THAT_FAILS = 6
_TRIES = 3
_BATCHES: Sequence[dict[str, int]] = (
    {"fast": 3, "other": 1}, {"fast": 4, "other": 1}, {"slow": 1}, {"fast": 3}, {"fast": 4, "other": 2},
    {"fast": 3}, {"fast": 4}, {"fast": 3, "other": 1}, {"fast": 4}, {"fast": 3},
)  # fmt: skip
"""How many points of which series the batches hold, time and again."""


class ModelarDB(SystemUnderTest):
    """The log as published, or fixed except for the flaws named.

    #376 (https://github.com/ModelarData/ModelarDB-RS/pull/376) "ensures durability and crash recovery for ingested time series
    data": an ingested batch comes back once, with all its points. Why the algorithm breaks that is explained
    in ``docs/case-study-modelardb.md``. Without flaws the log is ``safe``.

    Args:
        flaws: names from `log.FLAWS`.
        sync_fails: the log's sixth sync fails; the client tries again, after a restart if the log demands one.
    """

    contract = "exactly-once"
    boundaries: ClassVar[Sequence[str]] = ("modelardb.rotate.", "modelardb.segment.", "modelardb.open.")

    def __init__(self, flaws: Collection[str] = (), sync_fails: bool = False) -> None:
        self._flaws, self._sync_fails = flaws, sync_fails

    def prepare(self, root: Path) -> None:
        """Make the table and its log."""
        DeltaTable.create(str(root / "table"), schema=SCHEMA)
        Engine(root, self._flaws)

    def workload(self, root: Path, journal: Journal) -> None:
        """Ingest the batches; on the way, restart in good order: the segment left over is empty then."""
        engine = Engine(root, self._flaws)
        if self._sync_fails:
            engine.log.sync_data = _failing_once()
        for number in range(ITEMS):
            if number == _RESTARTS_BEFORE:
                self._flush(engine)
                engine = Engine(root, self._flaws)
            engine = self._ingest(engine, root, journal, number)
        self._flush(engine)

    def _flush(self, engine: Engine) -> None:
        """Commit what waits. The log has whatever cannot be committed, or is opened again."""
        if engine.usable:
            engine.flush()

    def resume(self, root: Path, journal: Journal) -> None:
        """Ingest more batches, and stop without flushing them: the next start has to replay some."""
        engine = Engine(root, self._flaws)
        for number in LATER:
            engine = self._ingest(engine, root, journal, number)

    def _ingest(self, engine: Engine, root: Path, journal: Journal, number: int) -> Engine:
        """Ingest, and try again after an error, with a restart if the log demands one; returns the engine then open.

        After a restart the client looks first whether the batch is there.
        """
        attempt = journal.attempt(number)
        for tries in range(1, _TRIES + 1):
            if not engine.usable:
                engine = Engine(root, self._flaws)
                if tries > 1 and number in engine.rows()["number"].to_pylist():
                    break
            try:
                engine.ingest(self._batch(number))
                break
            except OSError:
                if tries == _TRIES:
                    attempt.fail()
                    raise
                if "shifted-id" in self._flaws:
                    attempt = journal.attempt(number)
        attempt.acknowledge()
        return engine

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the log, which replays; return the batches that are committed or buffered, each as often as it is there."""
        return self._items(Engine(root, self._flaws))

    def _items(self, engine: Engine) -> list[Item]:
        found = Counter((row["number"], row["series"], row["row"], row["value"]) for row in engine.rows().to_pylist())
        items = []
        for number in sorted({point[0] for point in found}):
            points = [tuple(row.values()) for row in self._batch(number).to_pylist()]
            times = {found.pop(point, 0) for point in points}
            if len(times) > 1:
                verdict = "loses" if 0 in times else "duplicate"
                raise PromiseBroken(
                    verdict, f"the points of batch {number} came back {min(times)} to {max(times)} times"
                )
            items += [number] * times.pop()
        if found:
            raise PromiseBroken("corrupt", f"points came back that were never stored: {[p[:3] for p in found][:3]}")
        return items

    def fingerprint(self, root: Path) -> str:
        """Digest the segments and the commits' names: data files are named at random, and commits are dated."""
        segments = [(path.name, path.read_bytes().hex()) for path in sorted((root / "log").iterdir())]
        commits = sorted(path.name for path in (root / "table" / "_delta_log").iterdir())
        return digest_of(commits, segments)

    def _batch(self, number: int) -> pa.RecordBatch:
        keys = [(name, row) for name, rows in _BATCHES[number % len(_BATCHES)].items() for row in range(rows)]
        value = value_of(self.seed, number)
        size = -(-len(value) // len(keys))
        points = [(number, *key, value[place * size : (place + 1) * size]) for place, key in enumerate(keys)]
        return pa.RecordBatch.from_arrays([pa.array(column) for column in zip(*points, strict=True)], schema=SCHEMA)


def _failing_once() -> Callable[[int], None]:
    """Return a sync that fails one time, as a disk may."""
    syncs = itertools.count(1)

    def sync_data(file: int) -> None:
        if next(syncs) == _SYNC_THAT_FAILS:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fdatasync(file)

    return sync_data
