"""Which tests run which lines: one run of them with coverage.py, stored until sources or tests change.

A mutant is judged by the tests that run its line: no other can notice it, but for lines that run when a module is imported.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import coverage
import msgspec

from benchmarks.mutation.places import ROOT
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.mutation.mutant import SourceMutant

__all__ = ["Reach", "measured"]

_PHASES = ("run", "setup", "teardown")
_DURATION = re.compile(r"(\d+\.\d+)s (?:call|setup|teardown) +(.+)")
_FEWEST_SECONDS = 0.005


class Reach(msgspec.Struct, frozen=True):
    """The tests that run each line.

    Attributes:
        seconds: of each test, by its id, with its fixtures.
        lines: by file below the root and line, positions of tests in ``seconds``.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[int, list[int]]]

    def tests_of(self, mutant: SourceMutant) -> list[list[str]]:
        """Return the tests that run the mutant's statement: those of the module's own file, and those of others.

        Those that probably notice it soon come first: a case of each test, a second case, and so on. A statement
        that runs when the module is imported is judged by the tests that run anything of the module; by all, if that is nothing
        but such statements.
        """
        lines = self.lines.get(str(mutant.path.relative_to(ROOT)), {})
        chosen = lines.keys() & _edited(mutant) if mutant.in_function else lines.keys()
        names = list(self.seconds)
        cases = Counter[str]()
        found = list[tuple[int, float, str]]()
        tests = {names[position] for line in chosen for position in lines[line]}
        for test in sorted(tests or (names if lines and not mutant.in_function else ())):
            function = test.partition("[")[0]
            cases[function] += 1
            found.append((cases[function], self.seconds[test], test))
        ordered = [test for *_, test in sorted(found)]
        own = f"tests/{mutant.path.relative_to(ROOT).parent}/test_{mutant.path.name}::"
        parts = [[test for test in ordered if test.startswith(own) is first] for first in (True, False)]
        return [part for part in parts if part]


def measured(arguments: Iterable[str]) -> Reach:
    """Run the tests that these arguments of pytest choose, several at a time. Raises UsageError if one fails."""
    with tempfile.TemporaryDirectory(prefix="crashmatrix-mutation-") as folder:
        data = Path(folder, "coverage")
        chosen = [
            *arguments,
            "--cov=reference_wal",
            "--cov=src/crashmatrix/reference_wal",
            "--cov-context=test",
            "--cov-report=",
        ]
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", f"-n{os.cpu_count()}", "-p", "no:cacheprovider", "--durations=0",
             "--durations-min=0", "-vv", *chosen],
            env={**os.environ, "COVERAGE_FILE": str(data)}, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if status.returncode:
            raise UsageError(f"tests fail without any bug:\n{status.stdout[-2000:]}")
        return _read(data, status.stdout)


def _read(data: Path, output: str) -> Reach:
    seconds = dict[str, float]()
    for spent, test in _DURATION.findall(output):
        seconds[test] = round(seconds.get(test, _FEWEST_SECONDS) + float(spent), 3)
    number = {test: position for position, test in enumerate(seconds)}
    known = coverage.CoverageData(str(data))
    known.read()
    lines = dict[str, dict[int, list[int]]]()
    for file in known.measured_files():
        by_line = known.contexts_by_lineno(file)
        lines[os.path.relpath(os.path.realpath(file), ROOT)] = {
            line: sorted({number[test] for context in contexts if (test := _test(context)) in number})
            for line, contexts in by_line.items()
        }
    return Reach(seconds, lines)


def _edited(mutant: SourceMutant) -> set[int]:
    text = mutant.path.read_text("utf-8")
    spans = ((text.count("\n", 0, edit.start) + 1, text.count("\n", 0, edit.end) + 1) for edit in mutant.edits)
    return {mutant.line, *(line for first, last in spans for line in range(first, last + 1))}


def _test(context: str) -> str:
    test, _, phase = context.rpartition("|")
    return test if phase in _PHASES else context
