"""The files that a target's program is made of, as far as they are the user's own, and digests of them.

    my_store.py:MyStore     the file, and each module that it imports, directly or not
    my_store.toml           the file, each file below its folder that a command names, and what its Python files import

Two runs with equal digests judge the same program. A module is the user's own if it is neither the standard library's, nor
crashmatrix's, nor installed with other packages: versions speak for those. Nothing is imported or executed to find this out.
Imports are read from the text, so a module that is imported by a name made up at run time is not seen. If a target file has a
``build``, only its Python files are read: what it builds may not be there yet, and is built anew by each run.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.machinery import all_suffixes
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.systems.command_file import COMMANDS, read_spec
from crashmatrix.scenarios.systems.import_path import path_with
from crashmatrix.scenarios.systems.loading import Target

__all__ = ["PACKAGE_PLACES", "Digests", "program_digests", "program_files"]

PACKAGE_PLACES = frozenset({"site-packages", "dist-packages"})
"""Folders of installed packages have such names."""

_HEAD_BYTES = 8192
"""A file with a zero byte among so many is not text, as git has it."""
_LIBRARY = Path(sysconfig.get_path("stdlib"))
_NOT_OWN = sys.stdlib_module_names | {"crashmatrix"}


class Digests(NamedTuple):
    """Digests of a program's own files: of its texts, and of what was compiled. Two builds of one text need not be equal."""

    texts: str
    binaries: str


def program_digests(target: str) -> Digests:
    """Return the digests of a target's own files; empty without such files, and if there is no such target."""
    texts, binaries = dict[str, bytes](), dict[str, bytes]()
    for name, file in sorted(program_files(target).items()):
        try:
            content = file.read_bytes()
        except OSError:
            content = b""
        (binaries if b"\0" in content[:_HEAD_BYTES] else texts)[name] = content
    return Digests(_digest(texts), _digest(binaries))


def _digest(contents: dict[str, bytes]) -> str:
    whole = blake2b(digest_size=8)
    for name, content in contents.items():
        whole.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape"))
        whole.update(content)
    return whole.hexdigest() if contents else ""


def program_files(target: str) -> dict[str, Path]:
    """Return a target's own files, by names that are the same on each machine. Empty if there is no such target."""
    named = Target(target)
    if named.place is None:
        start = _Search(sys.path).module(named.module) if named.module else None
        return _followed(start, _Search(sys.path, start.top)) if start else {}
    file = Path(named.place)
    if not os.path.isfile(file):  # noqa: PTH113  # Path's raises in a folder that may not be read
        return {}
    return _of_command_file(file) if named.place.endswith(".toml") else _of_python_file(file)


@dataclass(frozen=True)
class _Module:
    """A module: its whole name, its file, and where its submodules are, if it is a package."""

    name: str
    file: Path | None
    inside: tuple[Path, ...] = ()

    @property
    def top(self) -> Path | None:
        """The folder of the outermost package that it is in; None for a module outside of packages."""
        if self.file is None or ("." not in self.name and not self.inside):
            return None
        return self.file.parents[self.name.count(".") - (0 if self.inside else 1)]

    def imports(self) -> Iterator[str]:
        """The modules that its text may import, by their whole names."""
        try:
            text = self.file.read_bytes() if self.file and self.file.suffix == ".py" else b""
            with warnings.catch_warnings(action="ignore"):  # They are for those who import it.
                tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError, RecursionError):
            return
        package = self.name.split(".") if self.inside else self.name.split(".")[:-1]
        for statement in _statements(tree):
            if isinstance(statement, ast.Import):
                yield from (alias.name for alias in statement.names)
            elif isinstance(statement, ast.ImportFrom):
                above = package[: len(package) + 1 - statement.level] if statement.level else []
                where = ".".join([*above, *filter(None, [statement.module])])
                yield from (f"{where}.{alias.name}".lstrip(".") for alias in statement.names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.stmt | ast.excepthandler | ast.match_case):
            yield part
            yield from _statements(part)


@dataclass(frozen=True)
class _Search:
    """Finds modules as Python would, without importing a package. ``own``: a folder that is the user's own, wherever it lies."""

    path: Sequence[str]
    own: Path | None = None
    _known: dict[str, _Module | None] = field(default_factory=dict)

    def module(self, name: str) -> _Module | None:
        """Return a module by its whole name; None if there is none. A package without a file is one, too."""
        if name not in self._known:
            above, _, last = name.rpartition(".")
            package = self.module(above) if above else None
            folders = package.inside if package else () if above else [Path(entry or ".") for entry in self.path]
            self._known[name] = _in(folders, name, last) or (None if above else _hooked(name))
        return self._known[name]

    def own_modules(self, name: str) -> Iterator[_Module]:
        """The user's own modules that importing this name executes: each package that it is in, and itself."""
        if name.partition(".")[0] in _NOT_OWN:
            return
        for whole in accumulate(name.split("."), "{}.{}".format):
            module = self.module(whole)
            if module is None or (module.file and not self._is_own(module.file)):
                return
            yield module

    def _is_own(self, file: Path) -> bool:
        if self.own is not None and file.is_relative_to(self.own):
            return True
        return not PACKAGE_PLACES & set(file.parts) and not file.is_relative_to(_LIBRARY)


def _in(folders: Sequence[Path], name: str, last: str) -> _Module | None:
    spaces = []
    for folder in folders:
        inside = folder / last
        for place, within in ((inside / "__init__", (inside,)), (inside, ())):
            for suffix in all_suffixes():
                if os.path.isfile(file := f"{place}{suffix}"):  # noqa: PTH113  # as in `program_files`
                    return _Module(name, Path(file), within)
        if os.path.isdir(inside):  # noqa: PTH112  # as in `program_files`
            spaces.append(inside)
    return _Module(name, None, tuple(spaces)) if spaces else None


def _hooked(name: str) -> _Module | None:
    """Return a top-level module that only a hook of Python's import finds: some editable installations have one."""
    spec = None
    with suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(name)
    if spec is None or not spec.has_location or not spec.origin:
        return None
    return _Module(name, Path(spec.origin), tuple(map(Path, spec.submodule_search_locations or ())))


def _followed(start: _Module, search: _Search) -> dict[str, Path]:
    """Return the file of a module, and those of all own modules that it imports, by their names."""
    found: dict[str, Path] = {}
    waiting, seen = [start], {start.name}
    waiting += [package for package in search.own_modules(start.name) if package.name != start.name]
    seen.update(package.name for package in waiting)
    while waiting:
        module = waiting.pop()
        if module.file:
            found[module.name] = module.file
        for name in module.imports():
            new = [one for one in search.own_modules(name) if one.name not in seen]
            seen.update(one.name for one in new)
            waiting += new
    return found


def _of_python_file(file: Path, *, script: bool = False) -> dict[str, Path]:
    """Follow a file's imports: as part of its package if it is in one, as `loading.load_module` does. A script is in none."""
    folder, parts = Path(os.path.normpath(file.absolute())).parent, [file.stem]
    while not script and (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    start = _Module(".".join(parts), file.absolute())
    place = folder if parts[1:] else file.resolve().parent
    return _followed(start, _Search(path_with(str(place)), start.top))


def _of_command_file(file: Path) -> dict[str, Path]:
    found = {file.name: file}
    with suppress(UsageError):
        spec = read_spec(file)
        for word in dict.fromkeys(word for command in COMMANDS for word in getattr(spec, command)):
            named = Path(os.path.normpath(spec.folder / word))
            if not named.is_relative_to(spec.folder) or not os.path.isfile(named):  # noqa: PTH113  # as in `program_files`
                continue
            place = str(named.relative_to(spec.folder))
            if named.suffix == ".py":
                found |= {f"{place}: {name}": path for name, path in _of_python_file(named, script=True).items()}
            elif not spec.build:
                found[place] = named
    return found
