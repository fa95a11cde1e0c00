"""A system in any language, described by a TOML file: commands, and the promise. `command_file.py` has the file's keys.

A command runs in the folder of the TOML file, without a shell. ``{root}`` is the folder under test, ``{seed}`` the run's seed;
they are also in the environment, as CRASHMATRIX_ROOT and CRASHMATRIX_SEED. `build` and `list_failpoints` have no root. For
`resume`, CRASHMATRIX_RECOVERED names a file with the items that recovery printed, one JSON value a line.

Each journal line must be written to the kernel in one piece and at once (flush it): `attempt` before the system is given the
item, `ack` when it has reported the item durable. The program may start other programs; all of them die with the crash.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from crashmatrix.scenarios.errors import PromiseBroken, UsageError
from crashmatrix.scenarios.last_words import last_words
from crashmatrix.scenarios.processes.process_tree import ProcessTree
from crashmatrix.scenarios.processes.result import signal_name
from crashmatrix.scenarios.systems.command_file import COMMANDS, CommandSpec, read_spec
from crashmatrix.scenarios.target.journal import Item, Journal, item_key
from crashmatrix.scenarios.target.system import SystemUnderTest

__all__ = ["CommandFailed", "CommandSystem", "command_system"]

_TICK_SECONDS = 0.002
_FAILPOINTS_FILE = "failpoints.json"
_PLACEHOLDERS = ("{root}", "{seed}")


class CommandFailed(UsageError):
    """A command did not end with status 0. In recovery this is a verdict; elsewhere the user has to fix it."""


def command_system(path: Path) -> type[CommandSystem]:
    """Return the system that a TOML file describes, as a class. Raises UsageError."""
    spec = read_spec(path)
    attributes = {
        name: getattr(spec, name)
        for name in ("contract", "seconds_max", "disk_bytes", "stable_recovery", "recovers_from_full_disk")
    }
    return type(path.stem, (CommandSystem,), {"__doc__": f"The system of {path}.", "spec": spec, **attributes})


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
        self._run("workload", root, {"CRASHMATRIX_JOURNAL": str(journal.path)}, journal.tick)

    def resume(self, root: Path, journal: Journal) -> None:
        """Run `resume`."""
        with tempfile.NamedTemporaryFile(dir=self.workspace, suffix=".recovered") as recovered:
            recovered.writelines(item_key(item).encode() + b"\n" for item in journal.recovered)
            recovered.flush()
            known = {"CRASHMATRIX_JOURNAL": str(journal.path), "CRASHMATRIX_RECOVERED": recovered.name}
            try:
                self._run("resume", root, known, journal.tick)
            except CommandFailed as error:
                raise PromiseBroken("cannot-open", str(error)) from None

    @classmethod
    def can_resume(cls) -> bool:
        """Whether there is a command for it."""
        return bool(cls.spec.resume)

    def recover(self, root: Path) -> Sequence[Item]:
        """Run `recover`; return what it prints."""
        try:
            return _json_lines("recover", self._run("recover", root))
        except CommandFailed as error:
            raise PromiseBroken("cannot-open", str(error)) from None

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

    def _find(self, name: str) -> None:
        command = getattr(self.spec, name)
        if command and shutil.which(_from(self.spec.folder, command[0])) is None:
            raise UsageError(
                f"{name}: there is no program {command[0]!r} to run; install or build it, or correct the file (its commands run "
                f"in {self.spec.folder})"
            )

    def _run(
        self,
        name: str,
        root: Path | None,
        environment: Mapping[str, str] | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> str:
        """Run a command to its end; returns what it printed. Raises CommandFailed, UsageError."""
        self._find(name)
        values = {"{root}": str(root or ""), "{seed}": str(self.seed)}
        arguments = [_fill(argument, values) for argument in getattr(self.spec, name)]
        known = {"CRASHMATRIX_ROOT": values["{root}"], "CRASHMATRIX_SEED": values["{seed}"]}
        variables = {**os.environ, **self.spec.environment, **known, **(environment or {})}
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            streams = (output.fileno(), errors.fileno())
            with ProcessTree(lambda: _execute(self.spec.folder, arguments, variables, streams)) as tree:
                while not select.select([tree], [], [], _TICK_SECONDS)[0]:
                    tick()
                status = tree.wait()
            output.seek(0)
            errors.seek(0)
            if status:
                raise CommandFailed(f"{name} {_end(status)}{_last_words(errors.read() or output.read())}")
            return output.read().decode(errors="backslashreplace")


def _json_lines(name: str, printed: str) -> list[Item]:
    items = []
    for number, line in enumerate(printed.splitlines(), 1):
        try:
            items.append(json.loads(line))
        except ValueError:
            what = f"{name} must print one JSON value a line; line {number} is {line[:80]!r}"
            raise PromiseBroken("corrupt", what) from None
    return items


def _execute(folder: Path, arguments: list[str], variables: Mapping[str, str], streams: tuple[int, int]) -> None:
    """Become the program."""
    try:
        for standard, descriptor in zip((0, 1, 2), (os.open(os.devnull, os.O_RDONLY), *streams), strict=True):
            os.dup2(descriptor, standard)
        os.chdir(folder)
        for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored_by_python, signal.SIG_DFL)
        os.execvpe(arguments[0], arguments, dict(variables))  # noqa: S606  # its arguments are the user's own
    except OSError as error:
        sys.stderr.write(f"{arguments[0]}: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(126)


def _from(folder: Path, program: str) -> str:
    return str(folder / program) if "/" in program else program


def _fill(argument: str, values: Mapping[str, str]) -> str:
    for placeholder in _PLACEHOLDERS:
        argument = argument.replace(placeholder, values[placeholder])
    return argument


def _end(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    return f"died by {signal_name(-status)}"


def _last_words(printed: bytes) -> str:
    text = last_words(printed.decode(errors="replace"))
    return f"; it said: {text}" if text else ""
