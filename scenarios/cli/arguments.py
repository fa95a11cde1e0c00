"""Arguments that several commands read in the same way: a target, experiments, filesystems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypedDict

import typer

from crashmatrix.faults.disk import FILESYSTEMS, Filesystem, InvalidOption
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS, experiment_named
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.loading import whole_name, whole_names

__all__ = ["TARGET_NAMES", "Seed", "TargetArguments", "experiments_of", "filesystems_of", "target_of", "targets_of"]

Seed = Annotated[int, typer.Option(min=-(2**63), max=2**63 - 1, help="Seed of all random choices.")]
TARGET_NAMES = "Built-in name, module:Class, file.py, file.py:Class or file.toml."


class TargetArguments(TypedDict):
    """The two fields of a plan that name a target."""

    target: str
    mutant: str


def target_of(text: str) -> TargetArguments:
    """Read ``NAME`` or ``NAME+PLANTED_BUG``. Raises UsageError: a file alone does not name one system."""
    name, _, mutant = text.partition("+")
    return {"target": whole_name(name), "mutant": mutant}


def targets_of(texts: Sequence[str]) -> list[TargetArguments]:
    """Read names and patterns such as ``sqlite:*``; each target once. Raises UsageError."""
    found: dict[tuple[str, str], TargetArguments] = {}
    for text in texts:
        pattern, _, mutant = text.partition("+")
        for name in whole_names(pattern):
            found[name, mutant] = {"target": name, "mutant": mutant}
    return list(found.values())


def experiments_of(text: str | None) -> tuple[str, ...]:
    """Read names between commas, each once; none if the option was not given. Raises UsageError, also if it names none."""
    names = dict.fromkeys(filter(None, (text or "").split(",")))
    if text is not None and not names:
        raise UsageError(
            f"{text!r} names no experiment; name some of {', '.join(EXPERIMENTS)}, or leave the option out"
        )
    return tuple(experiment_named(name).name for name in names)


def filesystems_of(text: str | None) -> tuple[str, ...]:
    """Read specifications of filesystems between commas, each once; none if the option was not given.

    Raises:
        UsageError: it cannot be read, or names none.
    """
    if text is None:
        return ()
    if not text.strip(" ,"):
        raise UsageError(
            f"{text!r} names no filesystem; name some of {', '.join(FILESYSTEMS)}, or leave the option out"
        )
    try:
        return tuple(dict.fromkeys(map(str, Filesystem.parse_list(text))))
    except InvalidOption as error:
        raise UsageError(str(error)) from None
