"""Wrong values: one too many, another variable of the same type, a checksum of too little, a flag left out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from crashmatrix.scenarios.mutation.source import Site, Source, called

__all__ = ["drop_flag", "loop_short", "off_by_one", "short_checksum", "wrong_variable"]

_COUNTS = re.compile(
    r"(^|_)(ids?|offset|length|size|end|start|lo|hi|count|number|version|next|first|last|marker|position|index|n|bytes|rows|epoch|generation)(_|$)"
)
"""Names of ids, lengths and positions. A plural, but for bytes and rows, is a collection."""
_CHECKSUM = re.compile(r"xxh|crc|checksum|digest|hash|blake|sha\d|adler|^update$|intdigest", re.IGNORECASE)
_TWINS = (
    ("lo", "hi"), ("first", "last"), ("start", "end"), ("old", "new"), ("before", "after"), ("source", "target"),
    ("begin", "end"), ("left", "right"), ("attempted", "acknowledged"), ("min", "max"),
)  # fmt: skip
"""Names that come in pairs of one type."""
_OPTIONAL_FLAGS = {"O_CLOEXEC", "O_DIRECTORY", "O_NOATIME", "O_NOFOLLOW", "O_RDONLY"}
"""Flags that make no difference to what is stored: a mutant without one is equivalent."""


def loop_short(source: Source) -> Iterator[Site]:
    """A loop leaves out its last round, or its first."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.For | ast.comprehension) or not source.function(node):
            continue
        text = source.segment(node.iter)
        if isinstance(node, ast.comprehension) and node.is_async:
            continue
        for part, words in (("[:-1]", "last"), ("[1:]", "first")):
            edit = source.replaced(node.iter, f"list({text}){part}")
            yield Site(node.iter, (edit,), f"without the {words} of {source.brief(node.iter)}")


def off_by_one(source: Source) -> Iterator[Site]:
    """An id, a length or a position is one too high, or one too low."""
    for node in source.expressions:
        if source.function(node) and _counts(node) and _is_used(source, node):
            for by in ("+ 1", "- 1"):
                text = source.segment(node)
                yield Site(node, (source.replaced(node, f"({text} {by})"),), f"{source.brief(node)} {by}")


def wrong_variable(source: Source) -> Iterator[Site]:
    """Another variable of the same type: by its annotation, or because the names are a pair."""
    for node in source.expressions:
        if not isinstance(node, ast.Name | ast.Attribute) or source.function(node) is None or _is_called(source, node):
            continue
        name = node.id if isinstance(node, ast.Name) else node.attr
        for other in _others(source, node, name):
            text = source.segment(node)
            edit = source.replaced(node, f"{text[: len(text) - len(name)]}{other}")
            yield Site(node, (edit,), f"{other} in the place of {name}")


def short_checksum(source: Source) -> Iterator[Site]:
    """A checksum is taken of all bytes but the last."""
    for node in source.expressions:
        if isinstance(node, ast.Call) and _CHECKSUM.search(called(node)) and node.args and source.function(node):
            of = node.args[0]
            if not isinstance(of, ast.Constant | ast.Starred | ast.GeneratorExp):
                edit = source.replaced(of, f"({source.segment(of)})[:-1]")
                yield Site(of, (edit,), f"{called(node)} of all but the last of {source.brief(of)}")


def drop_flag(source: Source) -> Iterator[Site]:
    """One of the flags in ``A | B`` is not passed."""
    for node in source.expressions:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and source.function(node):
            for kept, dropped in ((node.left, node.right), (node.right, node.left)):
                if isinstance(dropped, ast.Attribute) and dropped.attr not in _OPTIONAL_FLAGS:
                    edit = source.replaced(node, source.segment(kept))
                    yield Site(node, (edit,), f"without {source.brief(dropped)}")


def _counts(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="len")):
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return bool(_COUNTS.search(name)) and not name.isupper()
    return False


def _is_used(source: Source, node: ast.expr) -> bool:
    """Whether the number itself is used, and not a part of it."""
    above = source.parent(node)
    if isinstance(above, ast.Call):
        return node in above.args and not isinstance(node, ast.Starred)
    return isinstance(above, ast.BinOp | ast.Slice | ast.Return | ast.keyword | ast.Assign | ast.Compare | ast.Tuple)


def _is_called(source: Source, node: ast.expr) -> bool:
    above = source.parent(node)
    return isinstance(above, ast.Call) and above.func is node


def _others(source: Source, node: ast.Name | ast.Attribute, name: str) -> list[str]:
    function = source.function(node)
    assert function is not None
    if isinstance(node, ast.Name):
        known = _annotated(function)
        others = [other for other, kind in known.items() if name in known and other != name and kind == known[name]]
    else:
        others = _attributes_of_type(source, node, name)
    twin = _twin(name)
    if twin and twin not in others and (isinstance(node, ast.Attribute) or twin in _names(function)):
        others.append(twin)
    return others


def _annotated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, str]:
    """The function's parameters and annotated names, with their types."""
    arguments = function.args
    known = {
        arg.arg: ast.dump(arg.annotation)
        for arg in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        if arg.annotation is not None
    }
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            known[node.target.id] = ast.dump(node.annotation)
    return known


def _attributes_of_type(source: Source, node: ast.Attribute, name: str) -> list[str]:
    """The other attributes of ``self`` that have the same annotation."""
    if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
        return []
    owner = next((above for above in source.above(node) if isinstance(above, ast.ClassDef)), None)
    kinds: dict[str, str] = {}
    for part in ast.walk(owner) if owner else ():
        if isinstance(part, ast.AnnAssign):
            match part.target:
                case ast.Name(id=field) | ast.Attribute(value=ast.Name(id="self"), attr=field):
                    kinds[field] = ast.dump(part.annotation)
    return [other for other, kind in kinds.items() if name in kinds and other != name and kind == kinds[name]]


def _twin(name: str) -> str:
    for pair in _TWINS:
        for one, other in (pair, pair[::-1]):
            if found := re.fullmatch(rf"((?:.*_)?){one}((?:_.*)?)", name):
                return f"{found[1]}{other}{found[2]}"
    return ""


def _names(function: ast.AST) -> set[str]:
    names = {part.id for part in ast.walk(function) if isinstance(part, ast.Name)}
    return names | {part.arg for part in ast.walk(function) if isinstance(part, ast.arg)}
