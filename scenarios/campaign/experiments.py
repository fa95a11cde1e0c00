"""The registry of experiments: one line for each, in the order in which they run."""

from __future__ import annotations

from collections.abc import Iterable

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import ExperimentKind
from crashmatrix.scenarios.io_error.experiment import IO_ERROR
from crashmatrix.scenarios.kill.experiment import KILL
from crashmatrix.scenarios.power.experiment import POWER

__all__ = ["EXPERIMENTS", "by_default", "experiment_named", "kind_of"]


def _by_name(kinds: Iterable[ExperimentKind]) -> dict[str, ExperimentKind]:
    return {kind.name: kind for kind in kinds}


EXPERIMENTS = _by_name(
    [
        KILL,
        POWER,
        IO_ERROR,
    ]
)


def by_default() -> tuple[str, ...]:
    """Return the experiments of a run that names none."""
    return tuple(name for name, kind in EXPERIMENTS.items() if kind.default)


def experiment_named(name: str) -> ExperimentKind:
    """Return an experiment. Raises UsageError."""
    if name not in EXPERIMENTS:
        raise UsageError(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def kind_of(scenario: str) -> ExperimentKind:
    """Return the experiment whose scenario an id names. Raises UsageError."""
    name, colon, _ = scenario.partition(":")
    if not colon or name not in EXPERIMENTS:
        raise UsageError(
            f"{scenario!r} is not a scenario id; ids begin with {', '.join(f'{name}:' for name in EXPERIMENTS)}; "
            "results.jsonl of the report lists them"
        )
    return EXPERIMENTS[name]
