"""A real database, whose documentation says which of its modes keep promises, gets those verdicts."""

import itertools
from collections import Counter

import pytest

from crashmatrix.faults.disk import CrashImages, CrashState, CrashStates, Note, RecordOptions, record
from tests.faults.disk.support import in_child, sqlite_check, sqlite_workload, verdict_of

pytestmark = pytest.mark.usefixtures("disk")


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("journal_mode", "synchronous", "keeps"),
    [("wal", "full", True), ("wal", "normal", False), ("delete", "full", False), ("delete", "extra", True)],
)
def test_modes_of_sqlite(journal_mode: str, synchronous: str, keeps: bool) -> None:
    """WAL+FULL and DELETE+EXTRA lose no acknowledged row; WAL+NORMAL does, and DELETE+FULL does.

    Source: https://sqlite.org/pragma.html#pragma_synchronous. In DELETE+FULL the unlinking of the rollback journal,
    which is the commit, is not synced: a journal that is back rolls the acknowledged row back.
    """
    # If a loss is expected, only the database's own syncs commit, so that the loss shows on any kernel.
    options = RecordOptions(filesystem="ext4:commit=300", nudge="mixed" if keeps else "writeback", seed=1)
    trace = record(sqlite_workload(journal_mode, synchronous), options=options)
    at_acknowledgements = [at + 1 for at, operation in enumerate(trace.operations) if isinstance(operation, Note)]

    def run() -> tuple[str, Counter[str]]:
        states = CrashStates(trace)
        with CrashImages(trace) as images:
            chosen = [*itertools.islice(states, 60), *(CrashState(cut, 0) for cut in at_acknowledgements)]
            verdicts = Counter(verdict_of(images, state, sqlite_check(trace, state)) for state in chosen)
            return verdict_of(images, states.clean, sqlite_check(trace, states.clean)), verdicts

    clean, verdicts = in_child(run)
    assert clean == "safe"
    assert verdicts["safe"]
    if keeps:
        assert set(verdicts) == {"safe"}
    else:
        assert verdicts["loses"]
        assert set(verdicts) == {"safe", "loses"}
