"""House rules that nobody should have to remember: who imports whom, what is public, how long code may be."""

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix import (
    faults,
    reference_wal,  # its failpoints are declared on import
)
from tests import ROOT

PACKAGES = ("faults", "reference_wal", "scenarios", "reports")
MODULES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 330

every_module = pytest.mark.parametrize("path", MODULES, ids=str)


def allowed(path: Path) -> tuple[str, ...]:
    """Return which packages of ours, or parts of one, a module may import."""
    match path.parts[0], path:
        case "reports", _:
            return ("reports",)
        case "faults", _:
            return ("faults",)
        case "reference_wal", _:
            return ("reference_wal", "faults")
        case "scenarios", _:
            may_break_it = path.match("scenarios/systems/reference*.py") or path.match("scenarios/planting*.py")
            may_break_it = may_break_it or path.name == "mutants.py"
            return ("scenarios", "faults", "reports", *(["reference_wal"] if may_break_it else []))
    raise AssertionError(f"no rule for {path}")


def imports(path: Path, text: str) -> Iterator[str]:
    """Yield the full name of every module a module imports, anywhere in it; `from a import b` may mean the module a.b."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.parts[: -node.level]) + "." if node.level else ""
            yield package + (node.module or "")
            if node.module == "faults":
                yield from (f"faults.{alias.name}" for alias in node.names)


def wrong_imports(path: Path, text: str) -> list[str]:
    wrong = []
    for name in imports(path, text):
        top = name.partition(".")[0]
        foreign = top in PACKAGES and top not in allowed(path)
        more_than_failpoints = path.parts[0] == "reference_wal" and name.startswith("crashmatrix.faults.disk")
        bare = path.parts[0] == "faults" and path.parts[1] != "disk"
        outside = bare and (
            name.startswith("crashmatrix.faults.disk") or (top != "faults" and top not in sys.stdlib_module_names)
        )
        if foreign or more_than_failpoints or outside:
            wrong.append(name)
    return wrong


@every_module
def test_import_direction(path: Path) -> None:
    """Engines need only failpoints, failpoints only the standard library, reports nothing; only what is about the reference
    engine imports it."""
    assert wrong_imports(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("faults/x.py", "import scenarios", ["scenarios"]),
        (
            "faults/x.py",
            "def f():\n    from crashmatrix.reports.store import ReportWriter",
            ["crashmatrix.reports.store"],
        ),
        ("faults/x.py", "import os, psutil", ["psutil"]),
        ("faults/x.py", "from crashmatrix.faults.disk import trace", ["crashmatrix.faults.disk"]),
        ("faults/x.py", "from faults import disk", ["crashmatrix.faults.disk"]),
        ("faults/x.py", "from .disk import trace", ["crashmatrix.faults.disk"]),
        ("faults/disk/x.py", "import xxhash\nfrom crashmatrix.faults.disk import trace", []),
        ("faults/disk/x.py", "import crashmatrix.scenarios.processes.jobs", ["crashmatrix.scenarios.processes.jobs"]),
        ("reports/x.py", "import faults, rich", ["faults"]),
        ("reference_wal/x.py", "import pyarrow\nfrom faults import declare", []),
        ("reference_wal/x.py", "from crashmatrix.faults.disk import Trace", ["crashmatrix.faults.disk"]),
        ("reference_wal/x.py", "from scenarios import Journal", ["scenarios"]),
        ("scenarios/systems/reference/engine.py", "from reference_wal import StorageEngine", []),
        ("scenarios/systems/reference/data.py", "import reference_wal", []),
        ("scenarios/systems/reference/mutants.py", "import crashmatrix.reference_wal.engine", []),
        ("scenarios/systems/sqlite.py", "import reference_wal", ["reference_wal"]),
        (
            "scenarios/kill/experiment.py",
            "if True:\n    import crashmatrix.reference_wal.engine",
            ["crashmatrix.reference_wal.engine"],
        ),
        ("scenarios/kill/experiment.py", "import crashmatrix.faults.disk, reports", []),
    ],
)
def test_import_rule_itself(path: str, text: str, wrong: list[str]) -> None:
    """The rule tells a wrong import from a right one, wherever it stands and however it is written."""
    assert [name for name in wrong_imports(Path(path), text) if name in wrong or name.count(".") < 2] == wrong


def public_definitions(path: Path) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    return {node.name for node in found if not any(is_command(decorator) for decorator in node.decorator_list)}


def is_command(decorator: ast.expr) -> bool:
    """A command is called from the command line, not from Python."""
    return ast.unparse(decorator).startswith("app.command(")


def has_all(path: Path) -> bool:
    return "__all__" in (ROOT / path).read_text()


@every_module
def test_public_names(path: Path) -> None:
    """`__all__` is a module's interface: it names what exists, once, and every public class and function."""
    if not has_all(path):
        assert not public_definitions(path), "a module that defines something public says so in __all__"
        return
    try:
        module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    except ModuleNotFoundError as error:
        pytest.skip(f"needs {error.name}")
    names: list[str] = module.__all__
    assert [name for name in names if not hasattr(module, name)] == []
    assert public_definitions(path) - set(names) == set()
    assert len(names) == len(set(names))


@pytest.mark.parametrize("package", PACKAGES)
def test_typed(package: str) -> None:
    """Every package tells type checkers that it is typed, and is built into the distribution."""
    assert (ROOT / package / "py.typed").is_file()
    assert f'"{package}"' in (ROOT / "pyproject.toml").read_text()


@every_module
def test_module_docstring(path: Path) -> None:
    """Every module opens with its role."""
    assert ast.get_docstring(ast.parse((ROOT / path).read_text()))


@every_module
def test_length(path: Path) -> None:
    """No module and no function is so long that nobody reads it."""
    text = (ROOT / path).read_text()
    assert text.count("\n") <= MODULE_LINES_MAX
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX]
    assert long == []


POINTS = [point for point in faults.catalogue() if "/reference_wal/" in point.location]
LAST_STEPS = {"acknowledge", "return", "retire"}
"""What ends an operation: after it comes the caller, or the first step of another."""


def test_the_engine_has_failpoints() -> None:
    """The rules below have something to judge."""
    assert reference_wal.__all__
    assert len(POINTS) > 50


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_failpoints_stand_on_both_sides(point: faults.FailPoint) -> None:
    """Each step of the engine has a failpoint before and after it, named alike; the last step of an operation has the one."""
    area, side, step = re.fullmatch(r"(.+)\.(before|after)_(.+)", point.name).groups()  # type: ignore[union-attr]
    twin = f"{area}.{'after' if side == 'before' else 'before'}_{step}"
    names = {other.name for other in POINTS}
    assert (twin in names) is (step not in LAST_STEPS)
    assert point.description.strip()
    assert "\n" not in point.description
