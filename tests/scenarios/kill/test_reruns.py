"""Further undisturbed runs show what differs in passing, at the very hits at which the sample is killed."""

from __future__ import annotations

from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.kill.profile import prepare
from crashmatrix.scenarios.kill.reruns import Reruns
from tests.scenarios.kill.test_experiment import TOYS


def test_states_along_a_path() -> None:
    """Each run has other random names after the same promises, and in recovery, too; a hit that never comes has no state."""
    before, recovering = ("toy.put.before_write", 2), ("toy.recover.before_return", 1)
    with workbench(Plan(target=f"{TOYS}:Random")) as (checker, _):
        reruns = Reruns(checker, prepare(checker), [before])
        first, second = reruns.states((before,), 2)
        deeper = reruns.states((before, recovering), 2)
        assert reruns.states((before,), 1) == [first]
        assert reruns.states((("toy.put.before_write", 99),), 2) == []
        assert reruns.states((before, ("toy.recover.before_return", 99)), 2) == []
    assert first.tree.digest != second.tree.digest
    assert first.promises == second.promises
    assert [state.tree for state in deeper] == [first.tree, second.tree]
