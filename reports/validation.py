"""Documents from outside, checked against a type: stored results, TOML targets. Every refusal names the field.

    parsed(b'{"hit": 7}')                          JSON as plain Python values, within limits
    checked(value, ScenarioResult)                 an object of that type, or Invalid
    Invalid: hit: expected a whole number, got a string

There are two steps. Python's `json` parses; msgspec checks and converts. The JSON parsers of msgspec and pydantic are faster,
but refuse a lone surrogate such as ``\\udcff``. Stored results hold these, since a file's name need not be Unicode.

Why msgspec (``python -m benchmarks.validation``, Python 3.11; processor time to parse and check 20,000 lines of results):

| library | 20,000 lines | import | installed | JSON Schema | ``"7"`` for a number | names the wrong value |
|---|---|---|---|---|---|---|
| none: `json` alone | 167 ms | | | no | accepted | no |
| msgspec 0.22 | 178 ms | 18 ms | 0.7 MB | yes | refused | yes, but a dictionary's key as ``[...]`` |
| pydantic 2.14 | 283 ms | 47 ms | 10 MB | yes | accepted unless strict | yes |
| cattrs 26.2 | 293 ms | 53 ms | 1.4 MB | no | accepted | yes |

msgspec checks the dataclasses that exist; it needs no classes of its own. Its one gap, the ``[...]``, is closed here:
`_failing_key` halves the dictionary until one refused key is left.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from crashmatrix.reports.formats.text import shortened, visible

__all__ = ["DEPTH_MAX", "DIGITS_MAX", "Invalid", "checked", "parsed"]

DEPTH_MAX = 100
"""How deep objects and arrays may nest. Stored results need 7 levels; Python's own limit depends on its version."""
DIGITS_MAX = 300
"""How many digits a number may have: with more, it is too large for a float."""

_NAME_LENGTH_MAX = 60
_KINDS = {
    "int": "a whole number", "float": "a number", "str": "a string", "bool": "true or false", "null": "null",
    "object": "an object", "dict": "an object", "array": "an array", "list": "an array",
}  # fmt: skip
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:]', re.DOTALL)
_STEP = re.compile(r"\.(?P<field>[^.\[\]`]+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")

T = TypeVar("T")
Step = str | int


class Invalid(ValueError):
    """A document has something that its type does not allow.

    Attributes:
        path: where: field names and indexes from the outermost; empty for the document itself.
        problem: what is wrong there, and what was expected.
    """

    def __init__(self, path: Sequence[Step], problem: str) -> None:
        self.path, self.problem = tuple(path), problem
        super().__init__(f"{_shown(self.path)}: {problem}" if path else problem)


def parsed(text: bytes) -> Any:
    """Parse JSON.

    Raises:
        Invalid: not UTF-8, not JSON, nested deeper than `DEPTH_MAX`, a number with more than `DIGITS_MAX` digits or none.
    """
    try:
        document = text.decode()
    except UnicodeDecodeError as error:
        raise Invalid((), f"not UTF-8 at byte {error.start:,}") from None
    if document.count("[") + document.count("{") > DEPTH_MAX:  # Only then can it be nested so deep.
        _refuse_depth(document)
    try:
        try:
            return _DECODER.decode(document)
        except _NotANumber:
            raise _refused(_LENIENT.decode(document)) from None  # Once more, to find where it is.
    except json.JSONDecodeError as error:
        raise Invalid((), f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None


def checked(value: Any, kind: type[T], *, at: Sequence[Step] = ()) -> T:
    """Convert plain values, as from JSON or TOML, to a type. Raises Invalid.

    Args:
        at: the path of the value in its document.
    """
    try:
        return msgspec.convert(value, kind)
    except UnicodeEncodeError:  # A lone surrogate where no text belongs, or in a name that the type does not have.
        checked(_encodable(value, values=True), kind, at=at)
        return checked(_encodable(value, values=False), kind, at=at)
    except msgspec.ValidationError as error:
        message, _, where = str(error).rpartition(" - at `$")
        if not message:  # The value itself is refused, so there is no path.
            message, where = where, ""
        path = [*at, *_named(value, kind, where)]
        raise Invalid(*_in_words(path, message)) from None


def _encodable(value: Any, *, values: bool) -> Any:
    """Return a copy with lone surrogates escaped: in names, and in values if that is wanted."""
    if isinstance(value, dict):
        return {_encodable(name, values=True): _encodable(part, values=values) for name, part in value.items()}
    if isinstance(value, list):
        return [_encodable(part, values=values) for part in value]
    if isinstance(value, str) and values:
        return value.encode(errors="backslashreplace").decode()
    return value


class _NotANumber(Exception):
    """The JSON text has a number that Python cannot hold, or cannot print."""


class _Unreadable:
    """Stands in a parsed document for such a number."""

    def __init__(self, problem: str) -> None:
        self.problem = problem


def _whole(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise _NotANumber
    return int(text)


def _float(text: str) -> float:
    number = float(text) if len(text) <= DIGITS_MAX else math.inf
    if not math.isfinite(number):
        raise _NotANumber
    return number


def _constant(text: str) -> float:
    """Refuse `NaN` and `Infinity`, which Python's parser lets through."""
    raise _NotANumber(text)


def _lenient(text: str) -> Any:
    if not any(digit.isdigit() for digit in text):
        return _Unreadable(f"expected a number, got {text}")
    if len(text) > DIGITS_MAX:
        return _Unreadable(f"a number of {len(text):,} digits; at most {DIGITS_MAX} are allowed")
    number = float(text)
    return number if math.isfinite(number) else _Unreadable(f"the number {shortened(text, 20)} is too large")


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_float, parse_constant=_constant)
_LENIENT = json.JSONDecoder(parse_int=_lenient, parse_float=_lenient, parse_constant=_lenient)


def _refused(document: Any) -> Invalid:
    """Return the error that names the first number which cannot be read."""
    waiting: list[tuple[tuple[Step, ...], Any]] = [((), document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _Unreadable):
            return Invalid(path, value.problem)
        parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        waiting += reversed([((*path, name), part) for name, part in parts])
    raise AssertionError("no number to refuse")


def _refuse_depth(document: str) -> None:
    """Raise Invalid if the text is nested too deep; strings are skipped as they stand."""
    path: list[str] = []
    last = key = ""
    for token in _TOKEN.findall(document):
        match token:
            case ":":
                key = last
            case "[" | "{":
                path.append(key)
                key = ""
                if len(path) > DEPTH_MAX:
                    names = [json.loads(name, strict=False) for name in path[1:4] if name]
                    raise Invalid(names, f"nested deeper than {DEPTH_MAX} levels")
            case "]" | "}":
                del path[-1:]
                key = ""
            case _:
                last = token


def _named(value: Any, kind: Any, where: str) -> list[Step]:
    """Return msgspec's path, such as `.experiments[...].scenarios`, with the keys' names in it."""
    path: list[Step] = []
    for step in _STEP.finditer(where):
        if step["any"]:
            path.append(_failing_key(value, kind, path))
        else:
            path.append(int(step["index"]) if step["index"] else step["field"])
    return path


def _failing_key(document: Any, kind: Any, path: list[Step]) -> Step:
    """Return the key of the dictionary at a path whose value is refused: the one that is left after halving."""
    names = list(_at(document, path))
    while len(names) > 1:
        half = names[: len(names) // 2]
        names = half if _fails(_with_only(document, path, half), kind) else names[len(names) // 2 :]
    return str(names[0])


def _at(document: Any, path: Sequence[Step]) -> Any:
    for step in path:
        document = document[step]
    return document


def _with_only(document: Any, path: Sequence[Step], names: list[str]) -> Any:
    """Return a copy of the document in which the dictionary at a path holds these keys only."""
    if not path:
        return {name: document[name] for name in names}
    copy = document.copy()
    copy[path[0]] = _with_only(document[path[0]], path[1:], names)
    return copy


def _fails(document: Any, kind: Any) -> bool:
    try:
        msgspec.convert(document, kind)
    except msgspec.ValidationError:
        return True
    except UnicodeEncodeError:  # Further on: this part is not what is refused.
        return False
    return False


def _in_words(path: list[Step], message: str) -> tuple[list[Step], str]:
    """Return msgspec's message as a path and a sentence without type names of Python's."""
    if found := re.fullmatch(r"Object missing required field `(.+)`", message):
        return [*path, found[1]], "is missing"
    if found := re.fullmatch(r"Object contains unknown field `(.+)`", message):
        return [*path, found[1]], "is not known"
    if found := re.fullmatch(r"Expected `([^`]+)`, got `([^`]+)`", message):
        return path, f"expected {_kinds(found[1])}, got {_kinds(found[2])}"
    if found := re.fullmatch(r"Invalid enum value (.+)", message, re.DOTALL):
        return path, f"there is no value {_name(found[1])}"
    plain = re.sub(r"`([^`]*)`", lambda name: _KINDS.get(name[1], name[1]), message)
    return path, plain[:1].lower() + plain[1:]


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))


def _shown(path: Sequence[Step]) -> str:
    """Return a path on one line: `experiments.kill.details.notes[0]`."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{_name(step)}" for step in path]
    return "".join(steps).removeprefix(".")


def _name(step: str) -> str:
    return shortened(visible(step).replace("\n", "\\n"), _NAME_LENGTH_MAX)
