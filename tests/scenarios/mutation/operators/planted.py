"""The mutants of a short function, as the changed lines that a reader would see."""

from __future__ import annotations

import ast
from textwrap import dedent, indent

from crashmatrix.scenarios.mutation.operators.table import OPERATORS
from crashmatrix.scenarios.mutation.source import Source, applied


def planted(operator: str, body: str, head: str = "def f(self, path, fd):") -> list[str]:
    """Return the body of a function as each mutant of one operator has it. Every mutant is valid Python."""
    text = f"{head}\n{indent(dedent(body).strip(), '    ')}\n"
    found = []
    for site in OPERATORS[operator].sites(Source(text)):
        mutant = applied(text, site.edits)
        ast.parse(mutant)
        found.append(dedent(mutant.partition("\n")[2]).strip())
    return found
