"""The registry of experiments: one line for each, in the order in which they run.

An experiment is imported when it is looked up: most commands need one, or none. So its line repeats what the help texts show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import NamedTuple

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import ExperimentKind

__all__ = ["EXPERIMENTS", "Registered", "Registry", "budgets", "by_default", "experiment_named", "kind_of"]


class Registered(NamedTuple):
    """Where an experiment is (``module:NAME`` below `crashmatrix.scenarios`), and some of its `ExperimentKind`."""

    place: str
    default: bool
    budget: int
    counts: str


class Registry(MutableMapping[str, ExperimentKind]):
    """Experiments by name; ``lines`` has those that were looked up as they are, and the others as ``registered``."""

    def __init__(self, registered: Mapping[str, Registered]) -> None:
        self.registered = registered
        self.lines: dict[str, Registered | ExperimentKind] = {**self.registered}

    def __getitem__(self, name: str) -> ExperimentKind:
        found = self.lines[name]
        if isinstance(found, Registered):
            module, _, attribute = found.place.partition(":")
            kind: ExperimentKind = getattr(import_module(f"crashmatrix.scenarios.{module}"), attribute)
            self.lines[name] = found = kind
        return found

    def __setitem__(self, name: str, kind: ExperimentKind) -> None:
        self.lines[name] = kind

    def __delitem__(self, name: str) -> None:
        del self.lines[name]

    def __contains__(self, name: object) -> bool:
        return name in self.lines

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)


EXPERIMENTS = Registry(
    {
        "kill": Registered("kill.experiment:KILL", True, 2000, "hits"),
        "power": Registered("power.experiment:POWER", True, 400, "crash states"),
        "io-error": Registered("io_error.experiment:IO_ERROR", False, 400, "faults"),
    }
)

MEANT_FOR = {"reference:threads": ("kill",)}
"""Built-in targets with a workload that takes too long for the rest: the experiments of a run that names none."""


def by_default() -> tuple[str, ...]:
    """Return the experiments of a run that names none."""
    return tuple(name for name, line in EXPERIMENTS.lines.items() if line.default)


def budgets() -> str:
    """Return the default budget of each experiment, in words."""
    return ", ".join(f"{line.budget:,} {line.counts} ({name})" for name, line in EXPERIMENTS.lines.items())


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
