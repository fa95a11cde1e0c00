"""The operators that every mutation tester has: conditions, comparisons, arithmetic, constants, returned values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from crashmatrix.scenarios.mutation.source import Edit, Site, Source

__all__ = [
    "arithmetic",
    "boolean",
    "boundary",
    "break_continue",
    "comparison",
    "constant",
    "negate_condition",
    "never",
    "return_none",
]

_BOUNDARIES: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
}
_REVERSED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
}
_Text = ast.JoinedStr | ast.List | ast.Tuple | ast.ListComp


def boundary(source: Source) -> Iterator[Site]:
    """A comparison counts the boundary, or leaves it out."""
    return _compared(source, _BOUNDARIES)


def comparison(source: Source) -> Iterator[Site]:
    """A comparison is reversed, as a part of an expression; `negate_condition` reverses a whole condition."""
    tests = {id(test) for test in _tests(source)}
    return (site for site in _compared(source, _REVERSED) if id(site.node) not in tests)


def negate_condition(source: Source) -> Iterator[Site]:
    """A condition is reversed."""
    for test in _tests(source):
        text = source.segment(test)
        yield Site(test, (source.replaced(test, f"(not ({text}))"),), f"not {source.brief(test)}")


def never(source: Source) -> Iterator[Site]:
    """A branch is never taken."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.If) and not node.orelse and source.function(node):
            yield Site(
                node.test, (source.replaced(node.test, "False"),), f"{source.brief(node.test)} counts for nothing"
            )


def boolean(source: Source) -> Iterator[Site]:
    """``and`` for ``or``; a part of a condition, or its ``not``, is left out."""
    for node in source.expressions:
        if source.function(node) is None:
            continue
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield Site(node, (source.replaced(node, f"bool({source.segment(node.operand)})"),), "without not")
        if isinstance(node, ast.BoolOp):
            yield from _of_bool(source, node)


def _of_bool(source: Source, node: ast.BoolOp) -> Iterator[Site]:
    old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    for left, right in zip(node.values, node.values[1:], strict=False):
        if edit := _between(source, left, right, old, new):
            yield Site(node, (edit,), f"{new} for {old} in {source.brief(node)}")
    for part in node.values:
        neutral = "True" if isinstance(node.op, ast.And) else "False"
        yield Site(node, (source.replaced(part, neutral),), f"without {source.brief(part)}")


def arithmetic(source: Source) -> Iterator[Site]:
    """Another operator between two numbers."""
    for node in source.expressions:
        if not isinstance(node, ast.BinOp) or not source.function(node) or type(node.op) not in _ARITHMETIC:
            continue
        if any(isinstance(part, _Text) or _is_text(part) for part in (node.left, node.right)):
            continue
        old, new = _ARITHMETIC[type(node.op)]
        if edit := _between(source, node.left, node.right, old, new):
            yield Site(node, (edit,), f"{new} for {old} in {source.brief(node)}")


def constant(source: Source) -> Iterator[Site]:
    """Another number; true for false."""
    for node in source.expressions:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            other = str(not node.value) if isinstance(node.value, bool) else f"({node.value + 1})"
            yield Site(node, (source.replaced(node, other),), f"{other.strip('()')} for {source.segment(node)}")


def return_none(source: Source) -> Iterator[Site]:
    """A function returns None; one that answers yes or no answers the contrary."""
    for node in ast.walk(source.tree):
        function = source.function(node)
        if not isinstance(node, ast.Return) or node.value is None or function is None:
            continue
        if isinstance(node.value, ast.Constant) and node.value.value is None:
            continue
        yields_bool = isinstance(function.returns, ast.Name) and function.returns.id == "bool"
        text = f"not ({source.segment(node.value)})" if yields_bool else "None"
        yield Site(node, (source.replaced(node.value, text),), f"returns {' '.join(text.split())[:60]}")


def break_continue(source: Source) -> Iterator[Site]:
    """A loop ends where its next round was due, or goes on where it was to end."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Break | ast.Continue):
            other = "continue" if isinstance(node, ast.Break) else "break"
            yield Site(node, (source.replaced(node, other),), f"{other} for {source.segment(node)}")


def _tests(source: Source) -> Iterator[ast.expr]:
    """The conditions of branches and loops."""
    known = set(source.expressions)
    for node in ast.walk(source.tree):
        if source.function(node) is None:
            continue
        if isinstance(node, ast.If | ast.While | ast.IfExp):
            found = [node.test]
        else:
            found = node.ifs if isinstance(node, ast.comprehension) else []
        yield from (test for test in found if test in known)


def _compared(source: Source, others: dict[type[ast.cmpop], tuple[str, str]]) -> Iterator[Site]:
    for node in source.expressions:
        if not isinstance(node, ast.Compare) or not source.function(node):
            continue
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            if type(operator) in others:
                old, new = others[type(operator)]
                if edit := _between(source, left, right, old, new):
                    yield Site(node, (edit,), f"{new} for {old} in {source.brief(node)}")


def _between(source: Source, left: ast.expr, right: ast.expr, old: str, new: str) -> Edit | None:
    """The edit of the operator between two operands; None if a comment there has the same sign."""
    start, end = source.span(left)[1], source.span(right)[0]
    pattern = r"\s+".join(map(re.escape, old.split()))
    found = list(re.finditer(pattern, source.text[start:end]))
    if len(found) != 1:
        return None
    return Edit(start + found[0].start(), start + found[0].end(), new)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
