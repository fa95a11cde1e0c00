"""A failpoint's declaration is reported as a meaningful path, never as a path of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crashmatrix.scenarios.judging.locations import declared_places, raised_at, relative
from crashmatrix.scenarios.target import journal


def test_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the current directory, else below the folder that Python finds it in, else by its name."""
    monkeypatch.chdir(tmp_path)
    assert relative(f"{tmp_path}/store.py:7") == "store.py:7"
    monkeypatch.setattr("sys.path", ["/usr/lib", "/usr/lib/packages", ""])
    assert relative("/usr/lib/packages/engine/log.py:120") == "engine/log.py:120"
    assert relative("/opt/other/log.py:3") == "log.py:3"
    assert relative("") == ""
    assert relative("elsewhere") == "elsewhere"


def test_ours_are_known() -> None:
    """The journal's own failpoints have a place."""
    assert declared_places()[journal.AFTER_ACK.name].startswith("crashmatrix/scenarios/target/journal.py:")


def test_where_the_target_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The innermost line of a traceback that is neither Python's, nor ours, nor of an installed package."""
    monkeypatch.chdir(tmp_path)
    ours, library = journal.__file__, json.__file__
    frames = [
        (ours, 1),
        (tmp_path / "store.py", 2),
        (tmp_path / "store.py", 3),
        ("/v/site-packages/x.py", 4),
        (library, 5),
    ]
    text = "".join(f'  File "{path}", line {line}, in f\n    g()\n' for path, line in frames)
    assert raised_at(text) == "store.py:3"
    assert raised_at(text.replace("store.py", "site-packages/store.py")) == "x.py:4"
    assert raised_at("KeyError: 1") == ""
