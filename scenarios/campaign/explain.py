"""From broken promises of any experiment to findings. The results stand even if explaining fails."""

from __future__ import annotations

from crashmatrix.scenarios.experiment import Experiment, Explained

__all__ = ["explanation_of"]


def explanation_of(experiment: Experiment) -> Explained:
    """Explain what an experiment found. An error while explaining becomes a note."""
    try:
        return experiment.explain()
    except Exception as error:  # An explanation is not worth losing a result.
        return Explained([], [f"what was found could not be explained: {type(error).__name__}: {error}"])
