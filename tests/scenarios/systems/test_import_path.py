"""Modules of targets are found before installed packages, but not in place of the standard library's."""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import sys
from pathlib import Path

import pytest

from crashmatrix.scenarios.systems.import_path import look_in


def test_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the standard library stays what it is; one that is installed gives way."""
    for name in ("json", "colorsys", "pytest"):
        (tmp_path / f"{name}.py").touch()
    monkeypatch.setattr(sys, "path", sys.path.copy())
    look_in(str(tmp_path))
    look_in(str(tmp_path))
    assert sys.path.count(str(tmp_path)) == 1
    for name, theirs in (("json", False), ("colorsys", False), ("pytest", True)):
        found = importlib.machinery.PathFinder.find_spec(name)
        assert found is not None and found.origin is not None
        assert (Path(found.origin).parent == tmp_path) is theirs
    assert importlib.import_module("json") is json


def test_nothing_of_the_library_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    look_in(str(tmp_path))
    assert sys.path == [str(tmp_path), "/nowhere"]
