"""The recordings of runs: a failure keeps its own, and nothing else is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis.errors import StopTest, UnsatisfiedAssumption

from crashmatrix.scenarios.stateful.traces import Traces, fails


def run(traces: Traces, names: str, *, failed: bool) -> str:
    """A run that uses a recording for each letter; returns those that are there afterwards."""
    used = [traces.path(name) for name in names]
    for path in used:
        path.touch()
    traces.ended(used, failed=failed)
    return "".join(sorted(path.stem for path in traces.folder.iterdir()))


def test_the_last_failures_keep_their_recordings(tmp_path: Path) -> None:
    """A run that passes leaves nothing, but removes nothing that a failure needs; an old failure makes room for a new one."""
    traces = Traces(tmp_path, failures_max=2)
    assert run(traces, "ab", failed=False) == ""
    assert run(traces, "ac", failed=True) == "ac"
    assert run(traces, "ab", failed=False) == "ac"
    assert run(traces, "ad", failed=True) == "acd"
    assert run(traces, "de", failed=True) == "ade"
    assert run(traces, "f", failed=True) == "def"


@pytest.mark.parametrize(
    ("error", "failure"),
    [(ValueError(), True), (AssertionError(), True), (UnsatisfiedAssumption(), False), (StopTest(1), False)],
)
def test_which_errors_are_failures(error: BaseException, failure: bool) -> None:
    """Hypothesis ends a run early by errors of its own; those of the user's code, and ours, are failures."""
    seen = []
    try:
        try:
            raise error
        finally:
            seen.append(fails())
    except BaseException as caught:
        assert caught is error  # whatever it is
    assert (seen, fails()) == ([failure], False)
