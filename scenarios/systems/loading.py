"""How a target's name becomes a system: built in, ``package.module:Class``, ``file.py:Class`` or ``file.toml``.

``file.py`` alone means the only system in that file (`whole_name`).
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.extras import extra_installed
from crashmatrix.scenarios.processes.sandbox.view import View, needed_folders
from crashmatrix.scenarios.systems import BUILT_IN
from crashmatrix.scenarios.systems.import_path import look_in
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["Target", "load", "load_module", "whole_name", "whole_names"]


@dataclass(frozen=True)
class Target:
    """Names a system and how to make it; picklable, so that each process makes its own.

    Attributes:
        name: as given on the command line.
        options: keyword arguments for the system's constructor.
        mutant: name of a planted bug to put into the system first.
        watch_calls: crash at system calls (`system_calls`), and at failpoints of every process that the system forks.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    mutant: str = ""
    seed: int = 0
    workspace: str = ""
    watch_calls: bool = False

    @classmethod
    def of(cls, system: SystemUnderTest) -> Target:
        """Return the target that makes this system again, of the same class with the same arguments.

        Raises:
            UsageError: other processes could not find its class, or its arguments could not be passed to them.
        """
        kind = type(system)
        path = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if "." in kind.__qualname__ or path is None:
            raise UsageError(
                f"{kind.__qualname__} cannot be found by other processes, in which it must run; define it at the top of a file"
            )
        arguments, options = system._made_with
        bound = inspect.signature(kind).bind(*arguments, **options)
        given: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            given |= value if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD else {name: value}
        try:
            json.dumps(given)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{kind.__name__}'s arguments must be JSON values, so that a scenario can be replayed ({error})"
            ) from None
        return cls(f"{path}:{kind.__name__}", given)

    def make(self) -> SystemUnderTest:
        """Return the system. Raises UsageError with the remedy."""
        kind = load(self.name)
        built_in = BUILT_IN.get(self.name)
        try:
            system = kind(**({**built_in.options, **self.options} if built_in else self.options))
        except TypeError as error:
            raise UsageError(f"target {self.name}: {error}; check the options it takes") from None
        if self.mutant:
            # Here: it imports the reference engine, which other targets do not need.
            from crashmatrix.scenarios.systems.reference.mutation.mutants import mutant

            mutant(self.mutant).plant()
        system.seed, system.workspace = self.seed, Path(self.workspace)
        return system

    @property
    def module(self) -> str | None:
        """The module or Python file the system lives in, None for a TOML file."""
        name = _place(self.name).rpartition(":")[0]
        return name or None

    def view(self, folder: Path | None = None, notes: Path | None = None) -> View:
        """Return what a process of the target sees of the machine's files, if ``folder`` holds its folder under test."""
        workspace = (Path(self.workspace),) if self.workspace else ()
        return View(folder, notes, needed_folders(self._needed()), workspace)

    def _needed(self) -> list[Path]:
        """The file that the system lives in, and the folders of its programs, if it names any."""
        if self.place is None:
            return []
        file = Path(self.place)
        if file.suffix != ".toml":
            return [file]
        from crashmatrix.scenarios.systems.command import program_folders  # as `load`

        return [file, *program_folders(file)]

    @property
    def file(self) -> Path | None:
        """The absolute path of the file that the system lives in; None if there is none, which loading it will report."""
        place = self.place
        if place is None and self.module:
            try:
                spec = importlib.util.find_spec(self.module)
            except (Exception, SystemExit):  # It imports the packages above the module.
                return None
            place = spec.origin if spec else None
        return Path(place).absolute() if place and Path(place).is_file() else None

    @property
    def place(self) -> str | None:
        """The file that the system lives in, as named; None for a module."""
        name = self.name if self.name.endswith(".toml") else self.module
        return name if name and name.endswith((".toml", ".py")) else None


def whole_name(name: str) -> str:
    """Return a target's name; for a Python file alone, with the only system that it defines.

    Raises:
        UsageError: the file cannot be imported, or defines no system or several.
    """
    if not name.endswith(".py"):
        return name
    found = _systems_in(name)
    if len(found) > 1:
        raise UsageError(
            f"{name} defines {' and '.join(found)}; name one of them, as in {name}:{found[0]}, or all with '{name}:*'"
        )
    return f"{name}:{found[0]}"


def whole_names(pattern: str) -> list[str]:
    """Return the targets that a pattern means, or the one that a name means.

    ``sqlite:*`` means the built-in targets of such names (`fnmatch`), and ``file.py:*`` each system that the file defines.

    Raises:
        UsageError: nothing has such a name; for a name as `whole_name`.
    """
    if not any(sign in pattern for sign in "*?["):
        return [whole_name(pattern)]
    file, _, of_file = pattern.rpartition(":")
    if file.endswith(".py"):
        names = [f"{file}:{found}" for found in fnmatch.filter(_systems_in(file), of_file)]
    else:
        names = fnmatch.filter(BUILT_IN, pattern)
    if not names:
        raise UsageError(f"no target's name is like {pattern!r}; `crashmatrix targets` lists those that are built in")
    return names


def _systems_in(file: str) -> list[str]:
    """Return the names of the systems that a Python file defines. Raises UsageError if there is none."""
    module = load_module(file)
    found = [each.__name__ for each in vars(module).values() if _is_system(each) and each.__module__ == module.__name__]
    if not found:
        raise UsageError(
            f"{file} defines no class derived from crashmatrix.SystemUnderTest; add one, or name {file}:CLASS"
        )
    return found


def _is_system(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, SystemUnderTest) and not value.__abstractmethods__


def load(name: str) -> type[SystemUnderTest]:
    """Return the class that a target's name means.

    Raises:
        UsageError: no such built-in, module, file or class, or it cannot be imported.
    """
    if name.endswith(".toml"):
        from crashmatrix.scenarios.systems.command import command_system  # every other target's jobs do without it

        return command_system(Path(name))
    where, colon, attribute = _place(name).rpartition(":")
    if not colon and not _family(name):
        raise UsageError(
            f"no target {name!r}{_like(name)}; `crashmatrix targets` lists them, or name package.module:Class, file.py:Class or "
            "file.toml"
        )
    try:
        if name in BUILT_IN:
            return _built_in(name)
        return _class_in(load_module(where), where, attribute)
    except UsageError as error:
        if name in BUILT_IN or not _family(name):
            if name not in BUILT_IN and isinstance(error.__cause__, ModuleNotFoundError) and _like(name):
                raise UsageError(f"no target {name!r}{_like(name)}") from None
            raise
        raise UsageError(f"no target {name!r}; there are {', '.join(_family(name))}") from None


def _built_in(name: str) -> type[SystemUnderTest]:
    where, _, attribute = BUILT_IN[name].place.rpartition(":")
    with suppress(ImportError), extra_installed(f"target {name}"):
        importlib.import_module(where)
    return _class_in(load_module(where), where, attribute)  # Says what else is wrong, if something is.


def _family(name: str) -> list[str]:
    """The built-in targets whose names begin like this one."""
    return [known for known in BUILT_IN if known.partition(":")[0] == name.partition(":")[0]]


def _like(name: str) -> str:
    """Name the built-in target that is spelt most like this one; empty if none is."""
    near = difflib.get_close_matches(name, BUILT_IN, 1, 0.8)
    return f"; the nearest is {near[0]}" if near else ""


def _class_in(module: ModuleType, where: str, attribute: str) -> type[SystemUnderTest]:
    kind = getattr(module, attribute, None)
    if not isinstance(kind, type) or not issubclass(kind, SystemUnderTest):
        raise UsageError(
            f"{where} has no class {attribute!r} derived from crashmatrix.SystemUnderTest; add it, or name another"
        )
    if missing := sorted(kind.__abstractmethods__):
        raise UsageError(
            f"{where}:{attribute} lacks {' and '.join(missing)}; every system needs a workload and a recover method"
        )
    return kind


def load_module(place: str) -> ModuleType:
    """Import a module by its name, or by its file's. Raises UsageError."""
    return _load_file(Path(place)) if place.endswith(".py") else _load_module(place)


def _place(name: str) -> str:
    return BUILT_IN[name].place if name in BUILT_IN else name


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UsageError(f"cannot import {name} ({_in_one_line(error)}); is its package installed?") from error


def _load_file(path: Path) -> ModuleType:
    place = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=6).hexdigest()
    name = f"crashmatrix_target_{path.stem}_{place}"  # the same in every process, another for another file
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise UsageError(f"no file {path}; name it relative to the current directory")
    # Not resolved: a package's folder may be a link, and its name is that of the link.
    whole = Path(os.path.normpath(path.absolute()))
    if (whole.parent / "__init__.py").exists() and (module := _load_from_package(whole)):
        return module
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    look_in(str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # A script without a main guard must not end us with its status.
        del sys.modules[name]
        raise UsageError(f"{path} cannot be imported ({_in_one_line(error)}); fix it, then run again") from error
    return module


def _load_from_package(path: Path) -> ModuleType | None:
    """Import a file as part of its package, for its relative imports; None if another package has that name."""
    folder, parts = path.parent, [path.stem]
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    look_in(str(folder))
    module = _load_module(".".join(parts))
    return module if module.__file__ and Path(module.__file__).resolve() == path.resolve() else None


def _in_one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
