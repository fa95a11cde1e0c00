"""A Python module's source, and edits of its text.

The standard library's `ast` says where each statement and expression stands. A mutant replaces the text there, so
comments, layout and line numbers stay, and the diff shows nothing but the bug.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

__all__ = ["Edit", "Site", "Source", "applied", "called", "is_message"]

_MESSENGERS = {"logger", "logging", "warnings", "print"}
"""Calls of these tell a person something; no store depends on them."""
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, order=True)
class Edit:
    """Replaces the characters from ``start`` to before ``end`` by ``text``."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Site:
    """A place where an operator can plant a bug: the statement or expression, the edits, and in words what they do."""

    node: ast.expr | ast.stmt | ast.excepthandler
    edits: tuple[Edit, ...]
    about: str


class Source:
    """A module's text and its tree."""

    def __init__(self, text: str) -> None:
        """Parse it. Raises SyntaxError."""
        self.text = text
        self.tree = ast.parse(text)
        self._parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(map(len, self._lines))]

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.splitlines(keepends=True)

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node that holds this one; None for the module."""
        return self._parents.get(node)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The nodes that hold this one, from the nearest to the module."""
        while (found := self._parents.get(node)) is not None:
            yield found
            node = found

    def span(self, node: ast.expr | ast.stmt | ast.excepthandler) -> tuple[int, int]:
        """Where the node stands in the text: characters from, and before."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self._at(node.lineno, node.col_offset), self._at(node.end_lineno, node.end_col_offset)

    def _at(self, line: int, column: int) -> int:
        text = self._lines[line - 1]  # Columns count bytes.
        return self._starts[line - 1] + (column if text.isascii() else len(text.encode()[:column].decode()))

    def segment(self, node: ast.expr | ast.stmt) -> str:
        """The node's text."""
        start, end = self.span(node)
        return self.text[start:end]

    def brief(self, node: ast.expr | ast.stmt) -> str:
        """The node's text in one short line, for a description."""
        line = " ".join(self.segment(node).split())
        return line if len(line) <= 60 else f"{line[:57]}..."

    def replaced(self, node: ast.expr | ast.stmt, text: str) -> Edit:
        """The edit that puts other text in the node's place."""
        return Edit(*self.span(node), text)

    def scope(self, node: ast.AST) -> str:
        """The qualified name of the function or class that the node is in; "module" outside of all."""
        scopes = [found for found in self.above(node) if isinstance(found, _Scope)]
        return ".".join(found.name for found in reversed(scopes)) or "module"

    def function(self, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The innermost function that the node is in."""
        found = (above for above in self.above(node) if isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef))
        return next(found, None)

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement that the node is, or is in."""
        return next(found for found in (node, *self.above(node)) if isinstance(found, ast.stmt))

    @cached_property
    def blocks(self) -> list[list[ast.stmt]]:
        """Each list of statements of a function: its body, and those of its loops, branches and handlers."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or self.function(node):
                blocks = (getattr(node, field, None) for field in ("body", "orelse", "finalbody"))
                found += [block for block in blocks if isinstance(block, list) and block]
        return found

    @cached_property
    def expressions(self) -> list[ast.expr]:
        """Each expression that is read when the program runs, but for texts, annotations, patterns and errors' messages."""
        return [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.expr)
            and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
            and self._matters(node)
        ]

    def _matters(self, node: ast.expr) -> bool:
        child: ast.AST = node
        for above in self.above(node):
            if isinstance(above, ast.JoinedStr | ast.pattern | ast.Raise | ast.Assert | ast.Import | ast.ImportFrom):
                return False
            if is_message(above):
                return False
            if _is_annotation(child, above) or _is_decorator(child, above) or _declares_type(above):
                return False
            child = above
        return True


def _is_annotation(child: ast.AST, above: ast.AST) -> bool:
    if isinstance(above, ast.arg | ast.AnnAssign):
        return child is above.annotation
    return isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef) and child is above.returns


def _is_decorator(child: ast.AST, above: ast.AST) -> bool:
    return isinstance(above, _Scope) and (
        child in above.decorator_list or (isinstance(above, ast.ClassDef) and child in above.bases)
    )


def _declares_type(node: ast.AST) -> bool:
    """Whether this is a branch for type checkers, or a list of public names."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Assign) and any(
        isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets
    )


def called(node: ast.AST) -> str:
    """The last part of the name that a call calls; empty if the node is not a call, or what it calls has no name."""
    if isinstance(node, ast.Await):
        return called(node.value)
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def is_message(node: ast.AST) -> bool:
    """Whether this is a call that only informs a person: a log line, a warning."""
    if not isinstance(node, ast.Call):
        return False
    root: ast.expr = node.func
    while isinstance(root, ast.Attribute):
        root = root.value
    return isinstance(root, ast.Name) and root.id in _MESSENGERS


def applied(text: str, edits: tuple[Edit, ...]) -> str:
    """Return the text with the edits made."""
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text
