"""The house, measured: modules, who imports whom, floors and circles. ``python -m tests.house`` prints it.

A module's floor is one above the highest module it imports; those that import none of ours are on floor 1.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests import ROOT

PACKAGES = ("faults", "reference_wal", "scenarios", "reports")
NAME = "crashmatrix"


def module_name(path: Path) -> str:
    """The import name of a module, given its path from the top of the repository."""
    return ".".join((NAME, *path.with_suffix("").parts)).removesuffix(".__init__")


PATHS = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MODULES = {module_name(path): path for path in PATHS}


@cache
def parsed(text: str) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(text)


def imports(path: Path, text: str) -> Iterator[str]:
    """Yield the full name of every module a module imports, anywhere in it; `from a import b` may mean the module a.b."""
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ".".join((NAME, *path.parts[: -node.level])) if node.level else ""
            module = ".".join(filter(None, (package, node.module)))
            whole = [f"{module}.{alias.name}" for alias in node.names]
            named = [name for name in whole if name in MODULES or module == NAME]
            yield from named
            if len(named) < len(whole):
                yield module


@cache
def graph() -> dict[str, frozenset[str]]:
    """Each module with the modules of ours that it imports, also those it imports late or for types only."""
    return {
        name: frozenset(set(imports(path, (ROOT / path).read_text())) & MODULES.keys() - {name})
        for name, path in MODULES.items()
    }


def circle() -> list[str]:
    """Modules that import each other in a circle, empty if there are none."""
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def floors() -> dict[str, int]:
    """The floor of each module."""
    found: dict[str, int] = {}
    for name in TopologicalSorter(graph()).static_order():
        found[name] = 1 + max((found[below] for below in graph()[name]), default=0)
    return found


def rooms() -> Counter[Path]:
    """How many modules each folder has."""
    return Counter(path.parent for path in PATHS)


def _show() -> None:
    floor = {} if circle() else floors()
    print("modules  floors  lines  folder")
    for room, count in sorted(rooms().items()):
        here = [name for name, path in MODULES.items() if path.parent == room]
        levels = {floor[name] for name in here if floor}
        span = f"{min(levels)}-{max(levels)}" if levels else "?"
        lines = sum((ROOT / MODULES[name]).read_text().count("\n") for name in here)
        print(f"{count:7}  {span:>6}  {lines:5}  {room}")
    print("circle:", " -> ".join(circle()) or "none")


if __name__ == "__main__":
    _show()
