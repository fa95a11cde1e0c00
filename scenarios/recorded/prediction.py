"""Predicts, without mounting, the folder that a crash state becomes, and checks a sample of the predictions.

`faults.disk.CrashStates.outcomes` says which states become the same folder. Once one of them was mounted, the folder of the
others is known. Some of them are mounted all the same. If a mounted state has another folder, prediction ends, and the states
judged by a prediction are judged again.
"""

from __future__ import annotations

from crashmatrix.faults.disk import CrashState
from crashmatrix.faults.disk.state import StateNames

__all__ = ["MOUNTED_EACH", "WRONG", "Prediction"]

MOUNTED_EACH = 32
"""How many predicted states there are for each one that is mounted all the same."""

WRONG = (
    "mounted, this image showed another folder than was predicted from one with the same outcome: either its filesystem does not "
    "always recover the same way, or crashmatrix misreads its journal; please report it, with this trace"
)


class Prediction:
    """Predicts the folders of one trace's states; ``outcomes`` names states alike that become the same folder."""

    def __init__(self, outcomes: StateNames) -> None:
        self._outcomes = outcomes
        self._folders: dict[int, str] = {}
        self._unseen: list[CrashState] = []
        self.holds = True
        """Whether no prediction was found wrong."""
        self._spared = 0
        self._latest: tuple[CrashState, int] | None = None
        self.count = 0
        """How often a folder was predicted."""

    def folder(self, state: CrashState) -> str | None:
        """Return the folder that a state becomes, None if that is not known."""
        return self._folders.get(self.outcome(state)) if self.holds else None

    def outcome(self, state: CrashState) -> int:
        """Return the name of the folder that a state is predicted to become."""
        if self._latest is None or self._latest[0] != state:  # Often `saw` follows `folder`.
            self._latest = state, self._outcomes.of(state)
        return self._latest[1]

    def spares(self) -> bool:
        """Whether a state with an outcome that was judged is left out this time: nothing is said of it then."""
        self._spared += 1
        return self._spared % MOUNTED_EACH > 0

    def suffices(self, state: CrashState) -> bool:
        """Whether the prediction suffices this time, so that the state need not be mounted."""
        self.count += 1
        if self.count % MOUNTED_EACH == 0:
            return False
        self._unseen.append(state)
        return True

    def saw(self, state: CrashState, folder: str) -> bool:
        """Note what a mounted state became; False if another folder was predicted."""
        if not self.holds or self._folders.setdefault(self.outcome(state), folder) == folder:
            return True
        self.holds = False
        self._unseen = [each for each in self._unseen if each != state]
        return False

    def refuted(self) -> list[CrashState]:
        """Return, once, the states that were judged by what no longer holds; not the one that showed it."""
        unseen, self._unseen = ([], self._unseen) if self.holds else (self._unseen, [])
        return unseen
