"""ModelarDB's tables: truncated, dropped, made anew, transferred, with the log on and off. `engine` says what a server does.

Calls of another client that run at the same time are made at a fixed place within a call, so that every run is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from crashmatrix.scenarios.systems.modelardb.batches import batch_of, numbers_in
from crashmatrix.scenarios.systems.modelardb.calls import Calls
from crashmatrix.scenarios.systems.modelardb.engine import Engine
from crashmatrix.scenarios.systems.values import digest_of
from crashmatrix.scenarios.target.journal import Item, Journal
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["Tables"]

_SCRIPT = """
    create 3 truncate 2 truncate:put 4 flush
    transfer:put 2 drop create 3
    off drop create 2 on 2 truncate 1 off 1 truncate 1 on 2
"""
"""A number: so many batches; ``:put``: another client stores a batch while the call runs. The flush before
a transfer says what moves."""

_LATER = range(900, 904)


class Tables(SystemUnderTest):
    """The server around the log as it was in June 2026, or fixed except for the flaws named.

    Read at https://github.com/ModelarData/ModelarDB-RS/tree/f50bf88f: `modelardb_server` and `modelardb_storage`. Without flaws
    the server is ``safe``.

    Args:
        flaws: names from `log.FLAWS`.
    """

    failpoints_suffice = True
    contract = Calls()
    boundaries: ClassVar[Sequence[str]] = ("modelardb.truncate.", "modelardb.drop.", "modelardb.transfer.")
    unreached: ClassVar[Sequence[str]] = ("modelardb.truncate.segments_gone",)  # Only with some flaws.

    def __init__(self, flaws: Collection[str] = ()) -> None:
        self._flaws = frozenset(flaws)
        self._next = 0

    def workload(self, root: Path, journal: Journal) -> None:
        """Do one call after the other."""
        engine = Engine(root, self._flaws)
        for number, word in enumerate(_SCRIPT.split()):
            if word.isdecimal():
                for _ in range(int(word)):
                    self._put(engine, journal)
            else:
                self._call(engine, journal, number, *word.split(":"))

    def _put(self, engine: Engine, journal: Journal, *, save: bool = False) -> int:
        number = self._next
        self._next += 1
        with journal.attempt(["put", number]):
            engine.ingest(batch_of(self.seed, number))
            if save or engine.log is None:  # Without a log, a flush makes the promise.
                engine.flush()
        engine.work()
        return number

    def _call(self, engine: Engine, journal: Journal, number: int, kind: str, beside: str = "") -> None:
        if kind == "flush":
            engine.flush()
            return
        stored = list[int]()
        calls: dict[str, Callable[[], None]] = {
            "create": engine.create,
            "drop": engine.drop,
            "off": partial(engine.switch_log, on=False),
            "on": partial(engine.switch_log, on=True),
            "truncate": engine.truncate,
            "transfer": engine.transfer,
        }
        with journal.attempt(["switch" if kind in ("on", "off") else kind, number]):
            if beside:
                meanwhile = partial(self._store_beside, engine, journal, stored, save=kind == "transfer")
                engine.truncate(meanwhile) if kind == "truncate" else engine.transfer(meanwhile)
            else:
                calls[kind]()
        there = numbers_in(self.seed, engine.rows()) if stored else []
        for one in stored:
            if one in there:
                with journal.attempt(["seen", one]):
                    pass

    def _store_beside(self, engine: Engine, journal: Journal, stored: list[int], *, save: bool) -> None:
        stored.append(self._put(engine, journal, save=save))

    def resume(self, root: Path, journal: Journal) -> None:
        """Store more batches, and stop without flushing them: the next start has to replay some."""
        engine = Engine(root, self._flaws)
        if not engine.table.exists:
            with journal.attempt(["create", _LATER[0]]):
                engine.create()
        for self._next in _LATER:
            self._put(engine, journal)

    def recover(self, root: Path) -> Sequence[Item]:
        """Start the server; return the batches in the table, committed or buffered, and in the other one."""
        engine = Engine(root, self._flaws)
        sent = numbers_in(self.seed, engine.other.rows()) if engine.other.exists else []
        here = numbers_in(self.seed, engine.rows()) if engine.table.exists else []
        there = [["table"]] if engine.table.exists else []
        return [*there, *(["put", number] for number in here), *(["sent", number] for number in sent)]

    def fingerprint(self, root: Path) -> str:
        """Digest the segments and the commits' names: data files are named at random, and commits are dated."""
        segments = [(str(path.relative_to(root)), path.read_bytes().hex()) for path in sorted(root.glob("log/*"))]
        commits = sorted(str(path.relative_to(root)) for path in root.glob("**/_delta_log/*.json"))
        return digest_of(commits, segments)
