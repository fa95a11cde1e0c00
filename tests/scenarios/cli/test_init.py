"""`crashmatrix init`: what it writes runs as it stands, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.cli.init import write_target
from crashmatrix.scenarios.errors import UsageError
from tests.scenarios.command_line import crashmatrix


@pytest.mark.parametrize(
    ("name", "language", "file", "target"),
    [
        ("my_store", None, "my_store.py", "my_store.py:MyStore"),
        ("my-store.py", "python", "my-store.py", "my-store.py:MyStore"),
        ("store", None, "store.py", "store.py:StoreTarget"),
        ("kv2.toml", None, "kv2.toml", "kv2.toml"),
        ("kv", "toml", "kv.toml", "kv.toml"),
    ],
)
def test_names(
    name: str, language: str | None, file: str, target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's ending tells the language, and the file's name the class."""
    monkeypatch.chdir(tmp_path)
    assert write_target(name, language) == (Path(file), target)
    assert "@" not in Path(file).read_text()


@pytest.mark.parametrize(
    ("name", "language", "message"),
    [
        ("taken", None, "taken.py exists; name another file"),
        ("no/such/folder", None, "cannot be written (No such file or directory)"),
        ("1st", None, "'1st' cannot name a target in python; try my_store"),
        ("", None, "'' cannot name a target"),
        ("a.toml", "python", "'a.toml' cannot name a target in python"),
        ("a", "cobol", "no language 'cobol'; there are python, toml"),
    ],
)
def test_refused(
    name: str, language: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is taken, or is none, is refused, and nothing is touched."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.py").write_text("mine")
    with pytest.raises(UsageError) as refused:
        write_target(name, language)
    assert message in str(refused.value)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.daily(1)
@pytest.mark.experiment
@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("name", ["my_store", "my_log.toml"])
def test_what_it_writes_runs(name: str, tmp_path: Path) -> None:
    """The printed command gives a verdict: the store it starts from is safe."""
    wrote = crashmatrix("init", name, cwd=tmp_path)
    assert wrote.returncode == 0, wrote.stderr
    command = wrote.stdout.splitlines()[-1].split()
    assert command[:2] == ["crashmatrix", "run"]
    run = crashmatrix(*command[1:], "--experiments", "kill,power", "--fs", "posix", "--budget", "20", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert ": safe" in run.stdout
