"""A system in any language, described by a TOML file: commands, and the promise. `command_file.py` has the file's keys.

A command runs in the folder of the TOML file, without a shell. ``{root}`` is the folder under test, ``{seed}`` the run's seed;
they are also in the environment, as CRASHMATRIX_ROOT and CRASHMATRIX_SEED. `build` and `list_failpoints` have no root. For
`resume`, CRASHMATRIX_RECOVERED names a file with the items that recovery printed, one JSON value a line; for `verify`,
CRASHMATRIX_ATTEMPTED and CRASHMATRIX_ACKNOWLEDGED name files with those items.

If there is a `server`, it runs while `workload`, `resume`, `recover` and `verify` do (`server.py`), and ``{port}`` is its port.
So its start on what a crash left is part of recovery, and it dies with the crash like any program of the target.

Each journal line must be written to the kernel in one piece and at once (flush it): `attempt` before the system is given the
item, `ack` when it has reported the item durable. The program may start other programs; all of them die with the crash.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from crashmatrix.scenarios.errors import PromiseBroken, UsageError
from crashmatrix.scenarios.last_words import first_and_last
from crashmatrix.scenarios.systems.command_file import COMMANDS, CommandSpec, read_spec
from crashmatrix.scenarios.systems.programs import CommandFailed, filled, run_program
from crashmatrix.scenarios.systems.server import PORT_VARIABLE, Server, ServerFailed
from crashmatrix.scenarios.target.journal import Item, Journal, Promises, item_key
from crashmatrix.scenarios.target.notes import TwiceNamed, json_value
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["CommandFailed", "CommandSystem", "command_system", "program_folders"]

_FAILPOINTS_FILE = "failpoints.json"
_START_PART = 0.8
"""The part of the time limit that a server may take to be ready, so that its output can be quoted if it is not."""
_CLAIM = re.compile(r"([a-z-]+): (.+)")


def command_system(path: Path) -> type[CommandSystem]:
    """Return the system that a TOML file describes, as a class. Raises UsageError."""
    spec = read_spec(path)
    attributes = {
        name: getattr(spec, name)
        for name in (
            "contract",
            "seconds_max",
            "disk_bytes",
            "stable_recovery",
            "recovers_from_full_disk",
            "fails_reads",
        )
    }
    if spec.verify:
        attributes["verify"] = CommandSystem.run_verify
    return type(path.stem, (CommandSystem,), {"__doc__": f"The system of {path}.", "spec": spec, **attributes})


def program_folders(path: Path) -> tuple[Path, ...]:
    """Return where a TOML file's commands find their programs and libraries, as it says; empty if it cannot be read.

    These are the folders of programs that are named by their absolute paths, and those in variables like PATH, PYTHONPATH and
    LD_LIBRARY_PATH.
    """
    try:
        return _program_folders(path, path.stat().st_mtime_ns)
    except (OSError, UsageError):  # Loading it will say so.
        return ()


@lru_cache
def _program_folders(path: Path, _changed_ns: int) -> tuple[Path, ...]:
    spec = read_spec(path)
    programs = [Path(command[0]).parent for name in COMMANDS if (command := getattr(spec, name))]
    listed = [value.split(os.pathsep) for name, value in spec.environment.items() if name.endswith("PATH")]
    found = [*programs, *(Path(folder) for folders in listed for folder in folders)]
    return tuple(dict.fromkeys(folder for folder in found if folder.is_absolute()))


class CommandSystem(SystemUnderTest):
    """Runs the commands of ``spec``; made by `command_system`."""

    spec: ClassVar[CommandSpec]

    def setup(self) -> Sequence[str]:
        """Build, find the program of every command, and list the failpoints."""
        if self.spec.build:
            self._run("build", None)
        for name in COMMANDS:
            self._find(name)
        names = [*self.spec.failpoints]
        if self.spec.list_failpoints:
            names += self._run("list_failpoints", None).split()
        (self.workspace / _FAILPOINTS_FILE).write_text(json.dumps(names))
        return ()

    def prepare(self, root: Path) -> Sequence[Item] | None:
        """Run `prepare`, if there is one; what it prints is owed from the start."""
        if not self.spec.prepare:
            return None
        try:
            return _json_lines("prepare", self._run("prepare", root))
        except PromiseBroken as error:
            raise UsageError(error.explanation) from None

    def workload(self, root: Path, journal: Journal) -> None:
        """Run `workload`."""
        with self._serving(root) as server:
            self._run("workload", root, {"CRASHMATRIX_JOURNAL": str(journal.path)}, journal.tick, server)

    def resume(self, root: Path, journal: Journal) -> None:
        """Run `resume`."""
        with self._opening(), self._serving(root) as server, self._lists(recovered=journal.recovered) as lists:
            known = {"CRASHMATRIX_JOURNAL": str(journal.path), **lists}
            self._run("resume", root, known, journal.tick, server)

    @classmethod
    def can_resume(cls) -> bool:
        """Whether there is a command for it."""
        return bool(cls.spec.resume)

    def recover(self, root: Path) -> Sequence[Item]:
        """Run `recover`; return what it prints."""
        with self._opening(), self._serving(root) as server:
            return _json_lines("recover", self._run("recover", root, server=server))

    def run_verify(self, root: Path, promises: Promises) -> None:
        """Run `verify`. Its exit status 0 says that all is well; else the promise is broken."""
        lists = {"attempted": promises.attempted, "acknowledged": promises.acknowledged}
        with self._serving(root) as server, self._lists(**lists) as files:
            try:
                self._run("verify", root, files, server=server)
            except CommandFailed as error:
                raise PromiseBroken(*_claim(error)) from None

    def failpoints_outside(self) -> Sequence[str]:
        """Return what `setup` found."""
        names: list[str] = json.loads((self.workspace / _FAILPOINTS_FILE).read_text())
        return names

    def failing_outside(self) -> Mapping[str, Sequence[str]]:
        """Return the table `failing`. Raises UsageError: it names a failpoint that the program does not have."""
        known = self.failpoints_outside()
        if unknown := [name for name in self.spec.failing if name not in known]:
            raise UsageError(f"failing: no failpoint {unknown[0]!r}; there are {', '.join(known) or 'none'}")
        return self.spec.failing

    def fingerprint(self, root: Path) -> str | None:
        """Digest all but the ignored files."""
        if not self.spec.ignore:
            return None
        digest = hashlib.blake2b(digest_size=12)
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_file() and not any(fnmatch.fnmatch(name, pattern) for pattern in self.spec.ignore):
                digest.update(f"{name}\0{path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """A command that fails now fails on what a crash left."""
        try:
            yield
        except (CommandFailed, ServerFailed) as error:
            raise PromiseBroken("cannot-open", str(error)) from None

    @contextmanager
    def _serving(self, root: Path) -> Iterator[Server | None]:
        """Run the server for the block, if there is one."""
        spec = self.spec
        if not spec.server:
            yield None
            return
        values = self._values(root)
        server, ready, stop = (
            [filled(argument, values) for argument in command] for command in (spec.server, spec.ready, spec.stop)
        )
        with Server(
            server,
            ready=ready,
            ready_line=spec.ready_line,
            ready_socket=filled(spec.ready_socket, values),
            stop=stop,
            environment=self._known(root),
            folder=spec.folder,
            seconds_max=_START_PART * spec.seconds_max,
        ) as running:
            yield running

    @contextmanager
    def _lists(self, **lists: Iterable[Item]) -> Iterator[dict[str, str]]:
        """Write lists of items to files for the block, one JSON value a line; yields the variables that name them."""
        with ExitStack() as stack:
            variables = {}
            for name, items in lists.items():
                file = stack.enter_context(tempfile.NamedTemporaryFile(suffix=f".{name}"))
                file.writelines(item_key(item).encode() + b"\n" for item in items)
                file.flush()
                variables[f"CRASHMATRIX_{name.upper()}"] = file.name
            yield variables

    def _find(self, name: str) -> None:
        command = getattr(self.spec, name)
        if command and shutil.which(_from(self.spec.folder, command[0])) is None:
            raise UsageError(
                f"{name}: there is no program {command[0]!r} to run; install or build it, or correct the file (its commands run "
                f"in {self.spec.folder})"
            )

    def _values(self, root: Path | None) -> dict[str, str]:
        return {"{root}": str(root or ""), "{seed}": str(self.seed)}

    def _known(self, root: Path | None) -> dict[str, str]:
        values = self._values(root)
        return {
            **self.spec.environment,
            "CRASHMATRIX_ROOT": values["{root}"],
            "CRASHMATRIX_SEED": values["{seed}"],
        }

    def _run(
        self,
        name: str,
        root: Path | None,
        environment: Mapping[str, str] | None = None,
        tick: Callable[[], None] = lambda: None,
        server: Server | None = None,
    ) -> str:
        """Run a command to its end; returns what it printed. Raises CommandFailed, UsageError."""
        self._find(name)
        values = self._values(root)
        variables = {**os.environ, **self._known(root), **(environment or {})}
        if server:
            values["{port}"] = variables[PORT_VARIABLE] = str(server.port)
        arguments = [filled(argument, values) for argument in getattr(self.spec, name)]
        gone = server.gone if server else str
        try:
            return run_program(name, arguments, self.spec.folder, variables, tick, gone)
        except CommandFailed as error:
            if server is None:
                raise
            raise CommandFailed(f"{error}; {gone() or _printed(server)}") from None


def _printed(server: Server) -> str:
    """Quote a server that still runs."""
    text = first_and_last(server.output().decode(errors="replace"))
    return f"the server printed: {text}" if text else "the server printed nothing"


def _claim(error: CommandFailed) -> tuple[str, str]:
    """Return the verdict that `verify` claims in its first words, and its explanation; without one, ``corrupt``."""
    said = str(error).partition("; it said: ")[2]
    if claim := _CLAIM.match(said):
        return claim[1], claim[2]
    return "corrupt", str(error)


def _json_lines(name: str, printed: str) -> list[Item]:
    items = []
    for number, line in enumerate(printed.splitlines(), 1):
        if not line.strip():  # Some clients print an empty line for an empty answer.
            continue
        try:
            items.append(json_value(line))
        except TwiceNamed as error:
            raise PromiseBroken("corrupt", f"{name} printed in line {number}: {error}") from None
        except ValueError:
            what = f"{name} must print one JSON value a line; line {number} is {line[:80]!r}"
            raise PromiseBroken("corrupt", what) from None
    return items


def _from(folder: Path, program: str) -> str:
    return str(folder / program) if "/" in program else program
