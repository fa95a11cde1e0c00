"""Which bugs are planted for a target."""

import sys
from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.mutation.attempt import Stage
from crashmatrix.scenarios.mutation.chosen import mutants_for, sources_of, stages_for

TARGET = """from crashmatrix import SystemUnderTest
{imports}

class Mine(SystemUnderTest):
    seconds_max = 30

    def workload(self, root, journal):
        put(root)

    def recover(self, root):
        return []
"""
PUT = "def put(root):\n    write(root)\n"
METHOD = "    def put(self, root):\n        write(root)\n"


@pytest.mark.parametrize(
    ("imports", "files", "functions"),
    [
        ("import {name}_files", ["target.py", "files.py"], {"put"}),
        (PUT, ["target.py"], {"put"}),
        ("import {name}_files\n", ["target.py", "files.py"], {"put", "Mine.put"}),
        ("", ["target.py"], {"Mine", "Mine.workload", "Mine.recover"}),
    ],
)
def test_the_store_and_not_its_harness(tmp_path: Path, imports: str, files: list[str], functions: set[str]) -> None:
    """Modules beside the target, and functions beside its class; the class itself only if there is nothing else.

    A class of another file that has the same name is not the target.
    """
    name = f"chosen{len(imports)}"
    (tmp_path / f"{name}_target.py").write_text(TARGET.format(imports=imports.format(name=name)))
    (tmp_path / f"{name}_files.py").write_text(PUT if "Mine.put" not in functions else f"{PUT}class Mine:\n{METHOD}")
    (tmp_path / f"{name}_not_imported.py").write_text(PUT)
    target = f"{tmp_path}/{name}_target.py:Mine"
    try:
        sources = sources_of(target)
        assert [path.name for path in sources] == [f"{name}_{file}" for file in files]
        assert {mutant.function for mutant in mutants_for(target, sources)} == functions
    finally:
        sys.modules.pop(f"{name}_files", None)


@pytest.mark.parametrize(
    ("target", "message"), [("store.toml", "--source"), ("sqlite:wal-full", "comes with crashmatrix")]
)
def test_targets_without_sources(target: str, message: str) -> None:
    """The user names the store's files where crashmatrix cannot know them."""
    with pytest.raises(UsageError, match=message):
        sources_of(target)


def test_files_that_have_no_mutants(tmp_path: Path) -> None:
    """A file that is not Python, or does nothing, is refused by name."""
    path = tmp_path / "store.py"
    for text in ("def f(:", "X = {}\n"):
        path.write_text(text)
        with pytest.raises(UsageError, match=r"store\.py"):
            mutants_for("x:Y", [path])


def test_quick_rounds_come_first() -> None:
    """Every experiment runs with a small budget before any runs with the whole one."""
    assert stages_for(["kill", "io-error"], [], 200) == (
        Stage("kill", 40), Stage("io-error", 40), Stage("kill", 200), Stage("io-error", 200)
    )  # fmt: skip
    assert stages_for(["kill"], ["ext4"], 10) == (Stage("kill", 10, ("ext4",)),)
