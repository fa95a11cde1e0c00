"""Loads other text for some modules than their files have. The folder of an `Overlay` holds a copy, named ``sitecustomize``.

Python imports ``sitecustomize`` when it starts, in each process, before anything else of ours or of the target's. So a mutant
needs no changed file: the harness, a test runner and every process of the target see it alike. The folder holds

    files.json     the path of each module's file, and the name of the text to load for it
    reached.json   the paths of modules whose executed lines are noted, and the names of their maps: a byte for each line
    loaded         appears once some process has loaded a changed text

Standard library only.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import json
import mmap
import os
import sys
from importlib.machinery import PathFinder, SourceFileLoader
from importlib.util import module_from_spec
from types import CodeType

__all__ = ["install", "noting"]

_MAP = "__crashmatrix_reached_{}__"


def install(folder: str) -> None:
    """Serve the texts of this folder from now on."""
    files, reached = _read(folder, "files.json"), _read(folder, "reached.json")
    original = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        path = os.path.realpath(self.path)
        if path in files:
            with open(os.path.join(folder, files[path]), "rb") as file:  # noqa: PTH118  # Path would cost each start
                text = file.read()
            with contextlib.suppress(OSError):  # Read-only in a cell; the first process to load it is outside.
                open(os.path.join(folder, "loaded"), "wb").close()  # noqa: PTH118
            return self.source_to_code(text, self.path)
        if path in reached:
            return self.source_to_code(_noting(self, path, folder, reached[path]), self.path)
        return original(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]  # its base declares it


def _read(folder: str, name: str) -> dict[str, str]:
    with open(os.path.join(folder, name), encoding="utf-8") as file:  # noqa: PTH118
        found: dict[str, str] = json.load(file)
    return found


def _noting(loader: SourceFileLoader, path: str, folder: str, name: str) -> ast.Module:
    text = loader.get_data(path)
    size = text.count(b"\n") + 2
    place = os.path.join(folder, name)  # noqa: PTH118
    key = _MAP.format("".join(c if c.isalnum() else "_" for c in name))
    try:
        fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        os.ftruncate(fd, size)
        setattr(builtins, key, mmap.mmap(fd, size))  # Shared: the maps of forked and confined processes are this one.
        os.close(fd)
    except OSError:
        setattr(builtins, key, bytearray(size))
    return noting(text, key)


def noting(text: str | bytes, key: str) -> ast.Module:
    """Return the module's tree with a note before each statement of a function: ``key[line] = 1``."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            _note_blocks(node, key)
    return ast.fix_missing_locations(tree)


def _note_blocks(node: ast.AST, key: str) -> None:
    for field in ("body", "orelse", "finalbody"):
        block = getattr(node, field, None)
        if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
            for statement in block:
                if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    _note_blocks(statement, key)
            setattr(node, field, [part for statement in block for part in (_note(statement, key), statement)])
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        _note_blocks(part, key)


def _note(statement: ast.stmt, key: str) -> ast.stmt:
    note = ast.parse(f"{key}[{statement.lineno}] = 1").body[0]
    for part in ast.walk(note):
        ast.copy_location(part, statement)
    return note


def _next_one(here: str) -> None:
    """Run the ``sitecustomize`` that this one hides, if there is one."""
    folders = [folder for folder in sys.path if os.path.realpath(folder) != here]
    spec = PathFinder.find_spec("sitecustomize", folders)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if __name__ == "sitecustomize":
    _here = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120
    install(_here)
    _next_one(_here)
