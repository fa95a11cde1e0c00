"""Which bugs are planted for a target: in the modules of its folder that it imports, and in its own file beside its class."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS, experiment_named
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.experiment import ExperimentOptions
from crashmatrix.scenarios.mutation.attempt import Stage
from crashmatrix.scenarios.mutation.mutant import SourceMutant, mutants_of
from crashmatrix.scenarios.systems.loading import Target, load
from crashmatrix.scenarios.systems.program_files import PACKAGE_PLACES

__all__ = ["mutants_for", "sources_of", "stages_for"]

_QUICK_PART, _QUICK_MIN = 5, 20
"""The first round of experiments has a fifth of the budget: most bugs show at once."""


def sources_of(target: str) -> list[Path]:
    """Return the target's own file and the modules in its folder, or below, that it imports.

    Raises:
        UsageError: the target cannot be imported, or is not Python of the user's own.
    """
    if target.endswith(".toml"):
        raise UsageError(f"{target} names programs; name their Python files with --source")
    module = sys.modules[load(target).__module__]
    own = Path(os.path.realpath(module.__file__ or ""))
    if own.is_relative_to(Path(__file__).resolve().parents[1]):
        raise UsageError(f"{target} comes with crashmatrix; name the store's Python files with --source")
    files = {Path(os.path.realpath(path)) for known in list(sys.modules.values()) if (path := _file(known))}
    beside = {path for path in files if path.is_relative_to(own.parent) and not PACKAGE_PLACES & set(path.parts)}
    return [own, *sorted(beside - {own})]


def _file(module: object) -> str:
    path = getattr(module, "__file__", None)
    return path if isinstance(path, str) and path.endswith(".py") else ""


def mutants_for(target: str, sources: Sequence[Path]) -> list[SourceMutant]:
    """Return every mutant of these files.

    In the target's own file, its class is the harness. No bug is planted there, unless there is nothing else.

    Raises:
        UsageError: a file cannot be read, is not Python, or there is nothing to plant a bug in.
    """
    folder = Path(os.path.commonpath([path.resolve().parent for path in sources]))
    found = [mutant for path in sources for mutant in _mutants(path.resolve(), folder)]
    own, name = Target(target).file, target.rpartition(":")[2]
    harness = own and own.resolve(), name
    store = [mutant for mutant in found if (mutant.path, mutant.function.partition(".")[0]) != harness]
    if not found:
        raise UsageError(
            f"no bug can be planted in {', '.join(map(str, sources))}: no function of theirs does anything"
        )
    return store or found


def _mutants(path: Path, folder: Path) -> list[SourceMutant]:
    try:
        return mutants_of(path, str(path.relative_to(folder)))
    except (OSError, UnicodeDecodeError, SyntaxError) as error:
        raise UsageError(f"{path}: {error}; name Python files with --source") from None


def stages_for(experiments: Sequence[str], filesystems: Sequence[str], budget: int) -> tuple[Stage, ...]:
    """Return the stages of a run: each experiment with a small budget, then each with the whole one.

    Args:
        experiments: names; empty for those that run by default, as far as this machine can.
        filesystems: for power cuts; empty for posix, the quickest and strictest.

    Raises:
        UsageError: no such experiment.
        EnvironmentLacks: this machine cannot run one that was named, or none at all.
    """
    disks = tuple(filesystems) or ("posix",)
    options = ExperimentOptions(filesystems=disks)
    kinds = [experiment_named(name) for name in experiments] or [kind for kind in EXPERIMENTS.values() if kind.default]
    lacking = {kind.name: reason for kind in kinds if (reason := kind.lacking(options))}
    if lacking and (experiments or len(lacking) == len(kinds)):
        raise EnvironmentLacks("; ".join(f"{name}: {reason}" for name, reason in lacking.items()))
    names = [kind.name for kind in kinds if kind.name not in lacking]
    quick = min(budget, max(_QUICK_MIN, budget // _QUICK_PART))
    return tuple(_distinct(Stage(name, size, disks) for size in (quick, budget) for name in names))


def _distinct(stages: Iterable[Stage]) -> Iterable[Stage]:
    return dict.fromkeys(stages)
