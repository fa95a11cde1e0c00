"""ModelarDB's write-ahead log: batches of two series, a rotation every few, one restart on the way.

ModelarDB (https://github.com/ModelarData/ModelarDB-RS) logs each batch for a time series table before it buffers it: a folder
a table, the segment being written ``{start}-.arrows``, closed ones ``{start}-{end}.arrows``. `log` has the log, `engine` the
server around it.

Both were read at commit f50bf88f of 26 June 2026, which has #376 (https://github.com/ModelarData/ModelarDB-RS/pull/376)
and, after it, #389, #391, #394 and #395: ``crates/modelardb_storage/src/write_ahead_log.rs`` and the server's ``storage``
folder. Simplified: one table, no compression, four batches a segment; what runs in threads of its own runs at fixed places.
"""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import ClassVar

from crashmatrix.scenarios.systems.modelardb.batches import batch_of, numbers_in
from crashmatrix.scenarios.systems.modelardb.engine import Engine
from crashmatrix.scenarios.systems.modelardb.log import SEGMENT_BATCHES
from crashmatrix.scenarios.systems.values import ITEMS, LATER, digest_of
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["ModelarDB"]

_RESTARTS_BEFORE = 4 * SEGMENT_BATCHES
_SYNC_THAT_FAILS = 6
_TRIES = 3


class ModelarDB(SystemUnderTest):
    """The log as published, or fixed except for the flaws named.

    #376 (https://github.com/ModelarData/ModelarDB-RS/pull/376) "ensures durability and crash recovery for ingested time series
    data": an ingested batch comes back once, with all its points. Why the algorithm breaks that is explained
    in ``docs/case-study-modelardb.md``. Without flaws the log is ``safe``.

    Args:
        flaws: names from `log.FLAWS`.
        sync_fails: the log's sixth sync fails; the client tries again, after a restart if the log demands one.
        parts: a batch counts as there if some of its points are, so that `split-batch` does not hide another flaw.
    """

    failpoints_suffice = True
    contract = "exactly-once"
    boundaries: ClassVar[Sequence[str]] = ("modelardb.rotate.", "modelardb.segment.", "modelardb.open.")
    unreached: ClassVar[Sequence[str]] = (
        *("modelardb.truncate.", "modelardb.drop.", "modelardb.transfer.", "modelardb.log."),  # See `tables`.
    )

    def __init__(self, flaws: Collection[str] = (), sync_fails: bool = False, parts: bool = False) -> None:
        self._flaws, self._sync_fails, self._parts = frozenset(flaws), sync_fails, parts

    def prepare(self, root: Path) -> None:
        """Make the table and its log."""
        Engine(root, self._flaws).create()

    def workload(self, root: Path, journal: Journal) -> None:
        """Ingest the batches; on the way, restart in good order: the segment left over is empty then."""
        engine = Engine(root, self._flaws)
        if self._sync_fails:
            assert engine.log is not None
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
                engine.ingest(batch_of(self.seed, number))
                break
            except OSError:
                if tries == _TRIES:
                    attempt.fail()
                    raise
                if "shifted-id" in self._flaws:
                    attempt = journal.attempt(number)
        attempt.acknowledge()
        engine.work()
        return engine

    def recover(self, root: Path) -> Sequence[Item]:
        """Open the log, which replays; return the batches that are committed or buffered, each as often as it is there."""
        return numbers_in(self.seed, Engine(root, self._flaws).rows(), parts=self._parts)

    def fingerprint(self, root: Path) -> str:
        """Digest the segments and the commits' names: data files are named at random, and commits are dated."""
        segments = [(path.name, path.read_bytes().hex()) for path in sorted((root / "log").iterdir())]
        commits = sorted(path.name for path in (root / "table" / "_delta_log").iterdir())
        return digest_of(commits, segments)


def _failing_once() -> Callable[[int], None]:
    """Return a sync that fails one time, as a disk may."""
    syncs = itertools.count(1)

    def sync_data(file: int) -> None:
        if next(syncs) == _SYNC_THAT_FAILS:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.fdatasync(file)

    return sync_data
