"""The files of a target's program, and their digest: it differs if the program does, and tells nothing else apart."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from crashmatrix.scenarios.systems.program_files import program_digests, program_files


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


PLAIN = {
    "store.py": "import json\nimport files\ndef f():\n  try:\n    from deep.below import one\n  except ImportError: pass\n",
    "files.py": "import store, pytest, crashmatrix, not_there\n",
    "deep/below/one.py": "pattern = '\\d'\n",
    "json.py": "the_librarys = 'goes first'\n",
    "unused.py": "",
}
PACKAGE = {
    "kv/__init__.py": "from .log import append\n",
    "kv/log.py": "import os\n",
    "kv/tests/__init__.py": "",
    "kv/tests/crash.py": "from ..files import a\nfrom . import helper\nimport beside\n",
    "kv/tests/helper.py": "match 1:\n    case 1:\n        import kv.late\n",
    "kv/files/__init__.py": "",
    "kv/files/a.py": "",
    "kv/late.py": "",
    "kv/unused.py": "",
    "beside.py": "",
}


@pytest.mark.parametrize(
    ("files", "target", "found"),
    [
        (PLAIN, "store.py", ["deep.below.one", "files", "store"]),
        (
            PACKAGE,
            "kv/tests/crash.py",
            [
                "beside",
                "kv",
                "kv.files",
                "kv.files.a",
                "kv.late",
                "kv.log",
                "kv.tests",
                "kv.tests.crash",
                "kv.tests.helper",
            ],
        ),
        ({"store.py": "import files\n", "files.py": "def f(:"}, "store.py", ["files", "store"]),
    ],
    ids=["a file", "a package", "not Python"],
)
def test_own_modules(tmp_path: Path, files: dict[str, str], target: str, found: list[str]) -> None:
    """They are those that the target imports, packages and modules imported late included; nothing is executed."""
    before, loaded = [*sys.path], set(sys.modules)
    assert sorted(program_files(f"{written(tmp_path, files)}/{target}:Store")) == found
    assert sys.path == before and set(sys.modules) == loaded


def test_a_module_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that is installed with its package is the user's own, and so is the rest of that package; others are not."""
    place = written(tmp_path / "site-packages", {**PACKAGE, "kv/files/a.py": "import beside"})
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    found = program_files("kv.tests.crash:Store")
    assert "kv.log" in found and "beside" not in found
    assert program_files("kv.tests.gone:Store") == {} == program_files("gone.crash:Store")


def test_files_that_commands_name(tmp_path: Path) -> None:
    """Programs below the target file's folder, and what Python programs import; nothing that a build is to make."""
    commands = (
        """workload = "python3 tools/fill.py {root}"\nrecover = ["./kv", "dump", "{root}", "../test", "/bin/sh"]\n"""
    )
    files = {"kv.toml": commands, "tools/fill.py": "import client", "tools/client.py": "", "kv": "machine code"}
    target = f"{written(tmp_path / 'kv', files)}/kv.toml"
    (tmp_path / "test").write_text("it is not below the folder")
    python = ["tools/fill.py: client", "tools/fill.py: fill"]
    assert sorted(program_files(target)) == ["kv", "kv.toml", *python]
    Path(target).write_text(f'{commands}build = "make"\n')
    assert sorted(program_files(target)) == ["kv.toml", *python]
    Path(target).write_text("workload = 1")
    assert list(program_files(target)) == ["kv.toml"]


def test_digests(tmp_path: Path) -> None:
    """They are those of the contents: the same elsewhere, others if a module changed, and empty without a target."""
    one, two = (written(tmp_path / name, PLAIN) for name in ("one", "two"))
    first = program_digests(f"{one}/store.py:Store")
    assert first == program_digests(f"{two}/store.py:Store")
    assert first.texts and not first.binaries
    (two / "unused.py").write_text("x = 1")
    assert program_digests(f"{two}/store.py:Store") == first
    (two / "deep/below/one.py").write_text("x = 1")
    assert program_digests(f"{two}/store.py:Store").texts != first.texts
    assert program_digests(f"{two}/gone.py:Store") == program_digests("gone") == ("", "")


def test_what_was_compiled_has_its_own_digest(tmp_path: Path) -> None:
    """Machines that share a run may each have a build of their own."""
    written(tmp_path, {"kv.toml": 'workload = "./kv"\nrecover = "./kv"\n', "kv": "\x7fELF\0one"})
    first = program_digests(f"{tmp_path}/kv.toml")
    (tmp_path / "kv").write_text("\x7fELF\0two")
    second = program_digests(f"{tmp_path}/kv.toml")
    assert first.texts == second.texts
    assert first.binaries != second.binaries


def test_a_module_that_is_not_a_file(tmp_path: Path) -> None:
    """It is left out: whether it can be loaded is found out elsewhere."""
    written(tmp_path, {"store.py": "import files"})
    os.mkfifo(tmp_path / "files.py")
    assert program_digests(f"{tmp_path}/store.py:Store").texts


def test_built_in_targets() -> None:
    """Versions speak for what comes with crashmatrix; the target's own file is looked at."""
    assert list(program_files("sqlite:wal-full")) == ["crashmatrix.scenarios.systems.sqlite"]
