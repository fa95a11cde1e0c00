"""The results of a mutation run: a file with one line for each mutant, synced, so that an interrupted run goes on.

A line counts for a mutant if the bug is the same text, tried in the same way. A line that a crash cut short is dropped.

The file may lie in any directory that a user names, so it is opened as a report is (`crashmatrix.reports.folder`): not through a
link. Nothing is changed before the whole file is known to be a file of results.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import msgspec

from crashmatrix.reports.folder import Folder
from crashmatrix.reports.ownership import refuse_links
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.mutation.mutant import SourceMutant

__all__ = [
    "KILLED", "RESULTS", "SURVIVORS", "SURVIVORS_BEGIN", "Kind", "Outcome", "ResultsFile", "Tried", "claim", "digest",
    "equivalents",
]  # fmt: skip

RESULTS, SURVIVORS = "results.jsonl", "survivors.md"
"""The files of ``crashmatrix mutate`` in its directory: the results, and the report that is made from them."""
SURVIVORS_BEGIN = "# The harness of "

Kind = Literal["broken", "failed", "unknown", "refused", "timeout", "survived", "unreached", "unloaded", "error"]
"""How a mutant fared.

broken       a promise was broken: the harness found the bug
failed       a test failed
unknown      a scenario could not be decided, and none broke a promise
refused      the target could not be set up, or its undisturbed run was wrong
timeout      it ran much longer than without the bug
survived     everything was safe, every test passed
unreached    the same, because nothing executes the line
unloaded     the same, because nothing imports the module
error        the harness itself failed: the mutant was not decided
"""

KILLED: frozenset[Kind] = frozenset({"broken", "failed", "unknown", "refused", "timeout"})
"""No run with such an outcome passes for a good one."""

_BEGINS = b'{"mutant":"'
"""So begins each line."""


class Outcome(msgspec.Struct, frozen=True):
    """How a mutant fared with a harness or with tests. ``by`` is the scenario or test that killed it, ``about`` its message."""

    kind: Kind
    by: str = ""
    about: str = ""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        """Whether somebody notices the bug."""
        return self.kind in KILLED


class Tried(msgspec.Struct, frozen=True):
    """A line of the file: the mutant's id, digests of its text and of the settings, and the outcomes by who judged."""

    mutant: str
    text: str
    settings: str
    outcomes: dict[str, Outcome]

    def killed_by(self, judges: Iterable[str]) -> bool:
        """Whether any of these judges noticed the bug."""
        return any(self.outcomes[judge].killed for judge in judges if judge in self.outcomes)

    def decided(self, judges: Iterable[str]) -> bool:
        """Whether it is known whether these judges notice the bug."""
        known = [self.outcomes[judge] for judge in judges if judge in self.outcomes]
        return any(outcome.killed for outcome in known) or all(outcome.kind != "error" for outcome in known)


class ResultsFile:
    """The file; ``settings`` is what decides whether old lines count."""

    def __init__(self, path: Path, settings: str) -> None:
        """Read what is there. Raises UsageError if it is not a file of results."""
        self._path, self._settings = path, settings
        self._known: dict[tuple[str, str, str], Tried] = {}
        self._read()

    def of(self, mutant: SourceMutant) -> Tried | None:
        """Return the result of an earlier run, if it counts for this mutant."""
        return self._known.get((mutant.id, digest(mutant.text()), self._settings))

    def add(self, mutant: SourceMutant, outcomes: dict[str, Outcome]) -> Tried:
        """Append a result, and make it durable. Raises OSError."""
        tried = Tried(mutant.id, digest(mutant.text()), self._settings, outcomes)
        line = msgspec.json.encode(tried) + b"\n"
        with Folder.open(self._path.parent) as folder:
            if self._path.name not in folder.names():
                folder.write(self._path.name, line)
            else:
                with folder.open_to_append(self._path.name) as file:
                    file.write(line)
                    file.flush()
                    os.fsync(file.fileno())
        self._known[tried.mutant, tried.text, tried.settings] = tried
        return tried

    def forget(self, mutants: Iterable[str]) -> None:
        """Judge these mutants again: their lines stay in the file, and the next ones count."""
        gone = set(mutants)
        self._known = {key: tried for key, tried in self._known.items() if tried.mutant not in gone}

    def _read(self) -> None:
        try:
            with Folder.open(self._path.parent) as folder:
                if self._path.name in folder.names():
                    self._read_lines(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(f"{self._path}: {error}; name another directory, or remove it") from None

    def _read_lines(self, folder: Folder) -> None:
        with folder.open_file(self._path.name) as file:
            content = file.read()
        whole, _, torn = content.rpartition(b"\n")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                tried = msgspec.json.decode(line, type=Tried)
            except msgspec.DecodeError as error:
                raise UsageError(f"{self._path}, line {number}: {error}; name another file, or remove it") from None
            self._known[tried.mutant, tried.text, tried.settings] = tried
        if torn and not whole and not torn.startswith(_BEGINS):
            raise UsageError(f"{self._path} is not a file of results; name another file, or remove it")
        if torn:  # The run died while it wrote this line.
            with contextlib.suppress(OSError), folder.open_to_append(self._path.name) as file:
                file.truncate(len(content) - len(torn))


def claim(directory: Path) -> None:
    """Make a directory for results and their report, or see that both can be written to one. Changes no file.

    Raises UsageError, crashmatrix.reports.ReportError: it cannot be written, is a link, or holds links or files of another
    program's with these names.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with Folder.open(directory) as folder:
            refuse_links(folder, {RESULTS, SURVIVORS}, set())
            names = folder.names()
            if RESULTS in names:
                folder.open_to_append(RESULTS).close()
            if SURVIVORS in names and not _is_survivors(folder):
                raise UsageError(
                    f"{directory} holds another program's {SURVIVORS}; name another directory with --report"
                )
    except OSError as error:
        raise UsageError(f"{directory}: {error}; name another directory with --report") from None


def _is_survivors(folder: Folder) -> bool:
    with folder.open_file(SURVIVORS) as file:
        return file.read(len(SURVIVORS_BEGIN)) == SURVIVORS_BEGIN.encode()


def digest(text: str) -> str:
    """Return a short digest of a text."""
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def equivalents(path: Path) -> Mapping[str, str]:
    """Return the mutants that a person found to be no bugs, and the reasons.

        [[equivalent]]
        mutant = "my_store.py:Store.put:drop-call:2"
        reason = "the file is closed anyway when the object goes"

    Raises UsageError.
    """
    try:
        rows = tomllib.loads(path.read_text("utf-8")).get("equivalent", [])
        found = {row["mutant"]: row["reason"] for row in rows}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}; name a TOML file with tables [[equivalent]]") from None
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"{path}: each table [[equivalent]] needs a mutant and a reason") from None
    if empty := [mutant for mutant, reason in found.items() if not str(reason).strip()]:
        raise UsageError(f"{path}: {empty[0]} has no reason; say why no run can tell it from the original")
    return found
