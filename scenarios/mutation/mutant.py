"""Mutants of a module: every bug that an operator can plant in it, with an id that stays when other functions change."""

from __future__ import annotations

import difflib
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.scenarios.mutation.operators.table import OPERATORS
from crashmatrix.scenarios.mutation.source import Edit, Source, applied

__all__ = ["SourceMutant", "mutants_of", "sampled"]


@dataclass(frozen=True)
class SourceMutant:
    """One bug in one module.

    Attributes:
        module: as shown: the path below the folder that all modules share.
        path: the module's file.
        function: qualified name of the function that has the bug.
        number: counts the operator's mutants of this function.
        line: of the statement that has the bug.
        in_function: whether this statement is part of a function; if not, importing the module executes it.
        about: the bug, in words.
    """

    module: str
    path: Path
    operator: str
    function: str
    number: int
    line: int
    in_function: bool
    about: str
    edits: tuple[Edit, ...]

    @property
    def id(self) -> str:
        """``log/recovery.py:apply:drop-sync:1``: the same in every run, until this function changes."""
        return f"{self.module}:{self.function}:{self.operator}:{self.number}"

    def text(self, original: str | None = None) -> str:
        """The whole module with the bug."""
        return applied(self.path.read_text("utf-8") if original is None else original, self.edits)

    def diff(self) -> str:
        """The bug as a unified diff with three lines around it."""
        original = self.path.read_text("utf-8")
        lines = difflib.unified_diff(
            original.splitlines(), self.text(original).splitlines(), self.module, self.module, lineterm=""
        )
        return "\n".join(lines)


def mutants_of(path: Path, module: str) -> list[SourceMutant]:
    """Return every mutant of a module; two operators' equal texts are one. Raises SyntaxError, OSError."""
    source = Source(path.read_text("utf-8"))
    numbers = Counter[tuple[str, str]]()
    texts = {source.text}
    found = []
    for operator in OPERATORS.values():
        for site in operator.sites(source):
            function = source.scope(site.node)
            numbers[function, operator.name] += 1  # Also for one that turns out to be known: ids do not move.
            text = applied(source.text, site.edits)
            if text in texts:
                continue
            texts.add(text)
            statement = source.statement(site.node)
            found.append(
                SourceMutant(
                    module=module,
                    path=path,
                    operator=operator.name,
                    function=function,
                    number=numbers[function, operator.name],
                    line=statement.lineno,
                    in_function=source.function(statement) is not None,
                    about=site.about,
                    edits=site.edits,
                )
            )
    return found


def sampled(mutants: Iterable[SourceMutant], size: int, seed: int) -> list[SourceMutant]:
    """Return at most ``size`` mutants, in the order in which to try them: each module and operator in turn, drawn by the seed.

    A larger sample of one seed begins with the smaller one, so results of an earlier run are used again.
    """
    strata = defaultdict[tuple[str, str], list[SourceMutant]](list)
    for mutant in mutants:
        strata[mutant.module, mutant.operator].append(mutant)
    drawn = random.Random(seed)
    order = sorted(strata)
    drawn.shuffle(order)
    for stratum in order:
        drawn.shuffle(strata[stratum])
    longest = max(map(len, strata.values()), default=0)
    turns = [strata[stratum][turn] for turn in range(longest) for stratum in order if turn < len(strata[stratum])]
    return turns[:size]
