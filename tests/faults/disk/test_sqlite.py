"""A real database, whose documentation says which of its modes keep promises, gets those verdicts."""

import itertools
from collections import Counter

import pytest

from crashmatrix.faults.disk import CrashImages, CrashStates, RecordOptions, record
from tests.faults.disk.support import in_child, sqlite_check, sqlite_workload, verdict_of

pytestmark = pytest.mark.usefixtures("disk")


@pytest.mark.parametrize(
    ("journal_mode", "synchronous", "keeps"),
    [("wal", "full", True), ("wal", "normal", False), ("delete", "full", False), ("delete", "extra", True)],
)
def test_modes_of_sqlite(journal_mode: str, synchronous: str, keeps: bool) -> None:
    """WAL+FULL and DELETE+EXTRA lose no acknowledged row; WAL+NORMAL does, and DELETE+FULL does.

    Source: https://sqlite.org/pragma.html#pragma_synchronous. In DELETE+FULL the unlinking of the rollback journal,
    which is the commit, is not synced: a journal that is back rolls the acknowledged row back.
    """
    trace = record(sqlite_workload(journal_mode, synchronous), options=RecordOptions(nudge="mixed", seed=1))

    def run() -> tuple[str, Counter[str]]:
        states = CrashStates(trace)
        with CrashImages(trace) as images:
            chosen = itertools.islice(states, 80)
            verdicts = Counter(verdict_of(images, state, sqlite_check(trace, state)) for state in chosen)
            return verdict_of(images, states.clean, sqlite_check(trace, states.clean)), verdicts

    clean, verdicts = in_child(run)
    assert clean == "safe"
    assert verdicts["safe"] > 10
    if keeps:
        assert set(verdicts) == {"safe"}
    else:
        assert verdicts["loses"]
        assert set(verdicts) == {"safe", "loses"}
