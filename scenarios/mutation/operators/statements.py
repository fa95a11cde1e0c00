"""Bugs in the steps of durable code: a step left out, in the wrong order, or without its lock; an error not heeded."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from crashmatrix.scenarios.mutation.source import Edit, Site, Source, called, is_message

__all__ = [
    "drop_assign",
    "drop_call",
    "drop_lock",
    "drop_raise",
    "drop_sync",
    "ignore_return",
    "move_across",
    "move_out",
    "swap",
    "widen_except",
]

_SYNC = re.compile(r"sync|flush|settle|barrier|commit$")
_LOCK = re.compile(r"lock|mutex|turn|guard|gate|condition|semaphore", re.IGNORECASE)
_ANCHORS = re.compile(
    r"rename|replace$|unlink|remove|rmtree|^link|truncate|acknowledge|notify|set_result|^set$|release|commit|publish|retire|mark_"
)
"""Calls that others see, or that cannot be undone: an acknowledgement, a rename, an unlink."""
_NEIGHBOURS_MAX = 3
"""How many steps before and after such a call are moved across it."""
_Ends = ast.Return | ast.Raise | ast.Break | ast.Continue
_Declares = (
    ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Global | ast.Nonlocal
)
_Fixed = _Declares | ast.Assert | ast.Pass
"""Statements that stay where they are."""


def drop_call(source: Source) -> Iterator[Site]:
    """A statement that only calls is left out."""
    return (_dropped(source, node) for node in _calls(source) if not _SYNC.search(called(node.value)))


def drop_sync(source: Source) -> Iterator[Site]:
    """A statement that makes something durable is left out."""
    return (_dropped(source, node) for node in _calls(source) if _SYNC.search(called(node.value)))


def drop_assign(source: Source) -> Iterator[Site]:
    """An attribute or an item keeps its old value; a name does so where it has one."""
    for node in _statements(source):
        match node:
            case ast.AugAssign():
                yield _dropped(source, node)
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) if not source.scope(node).endswith("__init__"):
                yield _dropped(source, node)
            case ast.Assign(targets=[ast.Name() as name]) if name.id in _bound_before(source, node):
                yield _dropped(source, node)


def drop_raise(source: Source) -> Iterator[Site]:
    """An error is passed over."""
    return (_dropped(source, node) for node in _statements(source) if isinstance(node, ast.Raise))


def swap(source: Source) -> Iterator[Site]:
    """Two neighbouring steps change places."""
    for block in source.blocks:
        for first, second in pairwise(block):
            if _may_pass(source, first, second) and (_acts(first) or _acts(second)):
                about = f"{source.brief(second)} comes before {source.brief(first)}"
                edits = (source.replaced(first, source.segment(second)), source.replaced(second, source.segment(first)))
                yield Site(first, edits, about)


def move_across(source: Source) -> Iterator[Site]:
    """A step goes to the other side of an acknowledgement, a rename or an unlink that is not its neighbour: see `swap`."""
    for block in source.blocks:
        for at, anchor in enumerate(block):
            if not any(_ANCHORS.search(called(node)) for node in ast.walk(anchor)):
                continue
            for begin in range(max(at - _NEIGHBOURS_MAX, 0), at - 1):
                if _passes_all(source, block[begin], block[begin + 1 : at + 1]):
                    yield _moved(source, block[begin], anchor, after=True)
            for end in range(at + 2, min(at + 1 + _NEIGHBOURS_MAX, len(block))):
                if all(_may_pass(source, other, block[end]) for other in block[at:end]) and _acts(block[end]):
                    yield _moved(source, block[end], anchor, after=False)


def move_out(source: Source) -> Iterator[Site]:
    """The last step of a `with` block comes after the block: after the lock is released, or the file closed."""
    for node in _statements(source):
        if not isinstance(node, ast.With | ast.AsyncWith) or len(node.body) < 2:
            continue
        last = node.body[-1]
        if isinstance(last, _Fixed | _Ends) or not _acts(last) or not _own_line(source, node):
            continue
        indent = " " * node.col_offset
        text = _shifted(source.segment(last), last.col_offset, node.col_offset)
        end = source.span(node)[1]
        edits = (source.replaced(last, "pass"), Edit(end, end, f"\n{indent}{text}"))
        yield Site(last, edits, f"{source.brief(last)} comes after the with block")


def drop_lock(source: Source) -> Iterator[Site]:
    """A lock is not taken."""
    for node in _statements(source):
        if isinstance(node, ast.With) and len(node.items) == 1:
            expression = node.items[0].context_expr
            text = source.segment(expression)
            if node.items[0].optional_vars is None and _LOCK.search(text.rpartition(".")[2]):
                start, end = source.span(expression)
                head = source.span(node)[0]
                yield Site(node, (Edit(head, head + len("with"), "if"), Edit(start, end, "True")), f"without {text}")


def widen_except(source: Source) -> Iterator[Site]:
    """A handler of some error takes every error."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.ExceptHandler) or node.type is None or not source.function(node):
            continue
        if source.segment(node.type) not in ("Exception", "BaseException"):
            about = f"except Exception, not only {source.brief(node.type)}"
            yield Site(node, (source.replaced(node.type, "Exception"),), about)


def ignore_return(source: Source) -> Iterator[Site]:
    """A call's result is not kept, and the old value stays."""
    for node in _statements(source):
        if not isinstance(node, ast.Assign) or not called(node.value):
            continue
        match node.targets:
            case [ast.Name() as name] if name.id not in _bound_before(source, node):
                continue
            case [ast.Attribute()] if source.scope(node).endswith("__init__"):
                continue
            case [ast.Name() | ast.Attribute()]:
                edit = source.replaced(node, source.segment(node.value))
                yield Site(node, (edit,), f"the result of {source.brief(node.value)} is not kept")


def _statements(source: Source) -> Iterator[ast.stmt]:
    """Each statement of a function."""
    for block in source.blocks:
        yield from block


def _calls(source: Source) -> Iterator[ast.Expr]:
    for node in _statements(source):
        if isinstance(node, ast.Expr) and called(node.value) and not _is_failpoint(node) and _counts(source, node):
            yield node


def _counts(source: Source, node: ast.Expr) -> bool:
    """Whether the call is neither a message nor the constructor's of a base class."""
    return not is_message(node.value) and not source.segment(node).startswith("super().__init__")


def _is_failpoint(node: ast.AST) -> bool:
    """Whether this is a place to crash, which belongs to the test and not to the store."""
    return isinstance(node, ast.Expr) and called(node.value) == "hit"


def _dropped(source: Source, node: ast.stmt) -> Site:
    return Site(node, (source.replaced(node, "pass"),), f"without {source.brief(node)}")


def _acts(node: ast.AST) -> bool:
    """Whether the statement may change something outside of the function."""
    if _is_failpoint(node):
        return False
    return any((isinstance(part, ast.Call) and not is_message(part)) or _stores(part) for part in ast.walk(node))


def _stores(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)


def _may_pass(source: Source, first: ast.stmt, second: ast.stmt) -> bool:
    """Whether the second can be done first: it needs no name that the first one sets."""
    for node in (first, second):
        if isinstance(node, _Fixed) or _is_failpoint(node) or _is_text(node) or not _own_line(source, node):
            return False
        if any(isinstance(part, _Ends | ast.Yield | ast.YieldFrom) for part in ast.walk(node)):
            return False
    return not (_names(first, ast.Store) & _names(second, ast.Load)) and ast.dump(first) != ast.dump(second)


def _passes_all(source: Source, node: ast.stmt, others: list[ast.stmt]) -> bool:
    return _acts(node) and all(_may_pass(source, node, other) for other in others)


def _moved(source: Source, node: ast.stmt, anchor: ast.stmt, *, after: bool) -> Site:
    start, end = source.span(anchor)
    indent = "\n" + " " * node.col_offset
    text = source.segment(node)
    put = Edit(end, end, indent + text) if after else Edit(start, start, text + indent)
    about = f"{source.brief(node)} comes {'after' if after else 'before'} {source.brief(anchor)}"
    return Site(node, (source.replaced(node, "pass"), put), about)


def _own_line(source: Source, node: ast.stmt) -> bool:
    start, end = source.span(node)
    line = source.text.rfind("\n", 0, start) + 1
    rest = source.text[end:].partition("\n")[0].strip()
    return not source.text[line:start].strip() and (not rest or rest.startswith("#"))


def _shifted(text: str, old: int, new: int) -> str:
    """Text of a statement at another indent."""
    lines = text.split("\n")
    return "\n".join([lines[0], *(line[old - new :] if line[: old - new].isspace() else line for line in lines[1:])])


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _names(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, context)}


def _bound_before(source: Source, node: ast.stmt) -> set[str]:
    """The names that have a value when the statement is reached, as far as its place in the text says so."""
    function = source.function(node)
    if function is None:
        return set()
    arguments = function.args
    names = {arg.arg for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    stored = (part for part in ast.walk(function) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
    return names | {part.id for part in stored if part.lineno < node.lineno}
