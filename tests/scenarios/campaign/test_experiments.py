"""The registry is the only place that knows which experiments there are."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from crashmatrix.scenarios.campaign.experiments import (
    EXPERIMENTS,
    Registered,
    Registry,
    budgets,
    by_default,
    experiment_named,
    kind_of,
)
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import ExperimentOptions
from tests import ROOT
from tests.house import PATHS, imports, parsed

REGISTRY = Path("scenarios/campaign/experiments.py")
READS_OLD_REPORTS = Path("reports/upgrade.py")
FOLDERS = {name: Path(type(kind).__module__.replace(".", "/")).parent for name, kind in EXPERIMENTS.items()}


def strings(tree: ast.AST) -> Iterator[str]:
    """Yield the string literals of a module, parts of f-strings among them, without docstrings."""
    prose = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    yield from (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in prose
    )


@cache
def literals_and_imports(path: Path, text: str) -> tuple[list[str], list[str]]:
    """Return what a module names, once for all experiments."""
    return [*strings(parsed(text))], [*imports(path, text)]


def mentions(path: Path, text: str, name: str, folder: Path) -> list[str]:
    """Return the literals and imports by which a module knows an experiment."""
    module = ".".join(folder.parts)
    literals, imported = literals_and_imports(path, text)
    return [
        *(one for one in literals if one == name or one.startswith(f"{name}:")),
        *(one for one in imported if one == module or one.startswith(f"{module}.")),
    ]


OTHERS = [
    path for path in PATHS if path.parts[0] in ("scenarios", "reports") and path not in (REGISTRY, READS_OLD_REPORTS)
]


@pytest.mark.lengthy
def test_no_other_module_knows_an_experiment() -> None:
    """Campaign, replay, command line, pytest plugin, mutation runs and renderers go through the interface."""
    known = {
        (name, str(path)): mentions(path, (ROOT / path).read_text(), name, folder)
        for name, folder in FOLDERS.items()
        for path in OTHERS
        if not path.is_relative_to(folder.relative_to("crashmatrix"))
    }
    assert {path: found for path, found in known.items() if found} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('x = "kill"', ["kill"]),
        ('x.startswith("kill:")', ["kill:"]),
        ('x = f"kill:{point}"', ["kill:"]),
        ('x = {"kill": 1}', ["kill"]),
        ("from crashmatrix.scenarios.kill.plan import BUDGET", ["crashmatrix.scenarios.kill.plan"]),
        ("def f():\n    import crashmatrix.scenarios.kill", ["crashmatrix.scenarios.kill"]),
        ('"""kill"""\ndef f():\n    """kill:a@1"""', []),
        ('x = "killed"; y = "a kill"; kill = 1', []),
    ],
)
def test_the_rule_itself(text: str, found: list[str]) -> None:
    """The rule sees literals, ids and imports, and lets prose be."""
    assert mentions(Path("scenarios/x.py"), text, "kill", Path("crashmatrix/scenarios/kill")) == found


def test_each_experiment_is_found_by_its_name_and_ids() -> None:
    """A name leads to its experiment, an id to the one that it begins with."""
    assert by_default() == ("kill", "power")
    for name, kind in EXPERIMENTS.items():
        assert kind.name == name
        assert experiment_named(name) is kind_of(f"{name}:a@1") is kind
        assert kind.described(ExperimentOptions()).startswith(name)
        assert kind.budget > 0 < len(kind.counts)
    assert {kind.dies for kind in EXPERIMENTS.values()} == {"process", "machine", "call"}


def test_a_line_of_the_registry_says_what_its_experiment_says() -> None:
    """The help texts show the lines, which are there before an experiment is imported."""
    lines = {name: Registered("", kind.default, kind.budget, kind.counts) for name, kind in EXPERIMENTS.items()}
    assert {name: line._replace(place="") for name, line in EXPERIMENTS.registered.items()} == lines
    assert budgets() == "2,000 hits (kill), 400 crash states (power), 400 faults (io-error)"


def test_an_experiment_is_imported_when_it_is_looked_up() -> None:
    """Neither its name nor the help of the command line takes the import, a third of the time that a command needs to begin."""
    registry = Registry({"absent": Registered("no.such.module:KIND", True, 1, "hits")})
    assert "absent" in registry
    assert [*registry] == ["absent"]
    with pytest.raises(ModuleNotFoundError, match=r"crashmatrix\.scenarios\.no"):
        registry["absent"]


@pytest.mark.parametrize("text", ["", "kill", "flood:a@1", "KILL:a@1", ":kill", "a@1", "killa:1"])
def test_what_is_not_an_id_is_refused(text: str) -> None:
    """The refusal says what ids begin with, and where they are."""
    with pytest.raises(
        UsageError, match=r"is not a scenario id; ids begin with kill:, power:, io-error:; results\.jsonl"
    ):
        kind_of(text)


def test_an_unknown_name_is_refused() -> None:
    """The refusal lists the experiments."""
    with pytest.raises(UsageError, match="no experiment 'flood'; there are kill, power, io-error"):
        experiment_named("flood")
