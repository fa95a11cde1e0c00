"""The examples in Python: each says in its head what comes of it, and that comes of it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crashmatrix.scenarios.recorded.needs import lacking
from tests import ROOT
from tests.scenarios.command_line import CRASHMATRIX

EXAMPLES = ROOT / "docs" / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
HEADS = {path.name: ast.get_docstring(ast.parse(path.read_text())) or "" for path in PROGRAMS}
RUNS = [
    (target, options.split(), verdict)
    for head in HEADS.values()
    for target, options, verdict in re.findall(r"crashmatrix run docs/examples/(\S+)(.*?)# ([a-z-]+)", head)
]
TESTS = [
    (name, dict(re.findall(r"(\w+) (passes|fails: [a-z-]+)", line)))
    for head in HEADS.values()
    for name, line in re.findall(r"pytest docs/examples/(\S+) +# (.*)", head)
]


def test_every_example_says_what_comes_of_it() -> None:
    """Each class under test and each test is in some head with its verdict; a file without any serves another."""
    stated = {target for target, _, _ in RUNS}
    for name in HEADS:
        tree = ast.parse((EXAMPLES / name).read_text())
        classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef) if is_system(node, tree)}
        if not name.startswith("test_"):
            assert {f"{name}:{kind}" for kind in classes} == {
                target for target in stated if target.startswith(f"{name}:")
            }
            assert classes or name in " ".join(HEADS.values())
    assert {name for name, _ in TESTS} == {name for name in HEADS if name.startswith("test_")}
    assert {verdict for _, _, verdict in RUNS} == {"safe", "loses", "cannot-open"}


def is_system(node: ast.ClassDef, tree: ast.Module) -> bool:
    classes = {each.name: each for each in tree.body if isinstance(each, ast.ClassDef)}
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return any(base == "SystemUnderTest" or (base in classes and is_system(classes[base], tree)) for base in bases)


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Copy the examples, so that files of a run do not stay in the tree."""
    return Path(shutil.copytree(EXAMPLES, tmp_path / "docs" / "examples", ignore=shutil.ignore_patterns("__pycache__")))


def call(examples: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "COLUMNS": "200",
        "PYTHONDONTWRITEBYTECODE": "",
    }  # pytest compiles all of Hypothesis else.
    folder = examples.parents[1]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.daily(1)
@pytest.mark.parametrize(("target", "options", "verdict"), RUNS, ids=lambda value: str(value).replace("--", ""))
def test_run(target: str, options: list[str], verdict: str, examples: Path) -> None:
    """The command of the head ends with the verdict beside it."""
    if "power" in options and (reason := lacking(("posix",))):
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    ended = call(examples, *CRASHMATRIX, "run", f"docs/examples/{target}", "--budget", "60", *options)
    found = re.search(rf"^docs/examples/{target}: (\S+) ", ended.stdout, re.MULTILINE)
    assert found is not None, ended.stdout + ended.stderr
    assert (found[1], ended.returncode) == (verdict, 0 if verdict == "safe" else 1), ended.stdout


@pytest.mark.daily(1)
@pytest.mark.parametrize(("name", "stated"), TESTS)
def test_pytest(name: str, stated: dict[str, str], examples: Path) -> None:
    """Each test of the file ends as the head says, and there is no other."""
    options = ("-q", "-rA", "-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider", "-p", "no:randomly")
    ended = call(examples, sys.executable, "-m", "pytest", *options, f"docs/examples/{name}")
    outcomes = re.findall(r"^(PASSED|FAILED|ERROR) \S+?\.py::(\w+)\S*(.*)", ended.stdout, re.MULTILINE)
    found = {test: outcome for outcome, test, _ in outcomes}
    expected = {test: "PASSED" if says == "passes" else "FAILED" for test, says in stated.items()}
    assert found == expected, ended.stdout + ended.stderr
    for says in stated.values():
        assert says.removeprefix("fails: ") in ended.stdout or says == "passes"
