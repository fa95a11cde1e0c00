"""The interface of contracts: a journal must make sense for each writer, and a check cannot end a run."""

from __future__ import annotations

import pytest

from crashmatrix import Promises, UsageError
from crashmatrix.scenarios.target.contract import ExactlyOnce, judge_safely


@pytest.mark.parametrize("journal", ["attempt:v 1|ack:w 1", "attempt:v 1|ack 1", "attempt 1|fail:v 1"])
def test_an_end_belongs_to_its_writer(journal: str) -> None:
    """An acknowledgement by another writer than the one that attempted is the workload's mistake."""
    promises = Promises.parse(journal.replace("|", "\n").encode() + b"\n")
    with pytest.raises(UsageError, match="without attempting it, or twice; fix the workload"):
        ExactlyOnce().judge(promises, [1])
    violation = judge_safely(ExactlyOnce(), promises, [1])
    assert violation is not None
    assert violation.verdict == "unknown"
