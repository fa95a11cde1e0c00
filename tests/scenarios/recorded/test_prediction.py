"""A prediction is believed until one mounted state refutes it; then what it judged is judged again."""

from __future__ import annotations

from crashmatrix.faults.disk import CrashState
from crashmatrix.scenarios.recorded.prediction import MOUNTED_EACH, Prediction


class OfKept:
    """Outcomes by which states that keep the same become the same folder, wherever the cut."""

    def __init__(self) -> None:
        self.asked = 0

    def of(self, state: CrashState, /) -> int:
        self.asked += 1
        return state.kept


def state(cut: int, kept: int = 1) -> CrashState:
    return CrashState(cut, kept, (), 2)


def test_a_folder_is_known_once_it_was_seen() -> None:
    """The folder of a state is known once a state with the same outcome was seen."""
    prediction = Prediction(OfKept())
    assert prediction.folder(state(1)) is None
    assert prediction.saw(state(1), "folder")
    assert prediction.folder(state(2)) == "folder"
    assert prediction.folder(state(2, kept=0)) is None


def test_an_outcome_is_computed_once_for_each_state() -> None:
    """Predicting a state and then observing it takes one computation."""
    outcomes = OfKept()
    prediction = Prediction(outcomes)
    prediction.folder(state(1))
    prediction.saw(state(1), "folder")
    assert outcomes.asked == 1


def test_some_are_mounted_all_the_same() -> None:
    """One in MOUNTED_EACH predicted states is mounted all the same."""
    prediction = Prediction(OfKept())
    prediction.saw(state(0), "folder")
    suffices = [prediction.suffices(state(cut)) for cut in range(1, 2 * MOUNTED_EACH + 1)]
    assert suffices == 2 * [*[True] * (MOUNTED_EACH - 1), False]
    assert prediction.count == 2 * MOUNTED_EACH
    assert prediction.refuted() == []


def test_a_refuted_prediction() -> None:
    """The state that shows another folder refutes it; those judged unseen are given back, once; nothing is predicted then."""
    prediction = Prediction(OfKept())
    prediction.saw(state(0), "folder")
    assert prediction.suffices(state(1))
    assert prediction.suffices(state(2))
    assert not prediction.saw(state(2), "another")
    assert prediction.refuted() == [state(1)]
    assert prediction.refuted() == []
    assert prediction.folder(state(1)) is None
    assert prediction.saw(state(1), "a third")
