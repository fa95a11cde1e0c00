"""Documents from outside: what is wrong in them is named by its field, in one line and in plain words."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest

from crashmatrix.reports import Verdict
from crashmatrix.reports.validation import DEPTH_MAX, DIGITS_MAX, Invalid, checked, parsed


@dataclass
class Inner:
    number: int
    texts: tuple[str, ...] = ()


@dataclass
class Outer:
    name: str
    flag: bool = False
    share: float = 0.0
    few: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0
    verdict: Verdict = Verdict.SAFE
    maybe: int | None = None
    by_name: dict[str, dict[str, Inner]] | None = None
    rows: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "expected an object, got a whole number"),
        (None, "expected an object, got null"),
        ({}, "name: is missing"),
        ({"name": 3}, "name: expected a string, got a whole number"),
        ({"name": None}, "name: expected a string, got null"),
        ({"name": ["x"]}, "name: expected a string, got an array"),
        ({"name": "x", "flag": 0}, "flag: expected true or false, got a whole number"),
        ({"name": "x", "share": "1"}, "share: expected a number, got a string"),
        ({"name": "x", "few": True}, "few: expected a whole number, got true or false"),
        ({"name": "x", "few": 1.5}, "few: expected a whole number, got a number"),
        ({"name": "x", "few": -1}, "few: expected a whole number >= 0"),
        ({"name": "x", "few": 10}, "few: expected a whole number <= 9"),
        ({"name": "x", "maybe": "3"}, "maybe: expected a whole number or null, got a string"),
        ({"name": "x", "verdict": "fine - at `$.x`"}, "verdict: there is no value 'fine - at `$.x`'"),
        ({"name": "x", "verdict": "a\nb\x1b"}, r"verdict: there is no value 'a\nb\x1b'"),
        ({"name": "x", "rows": [{"number": 1}, {"number": "2"}]}, "rows[1].number: expected a whole number, got a string"),
        ({"name": "x", "rows": [{"number": 1, "texts": ["a", 2]}]}, "rows[0].texts[1]: expected a string, got a whole number"),
        ({"name": "x", "few": "\udcff"}, "few: expected a whole number, got a string"),
        ({"name": "x", "verdict": "\udcff"}, r"verdict: there is no value '\\udcff'"),
        (
            {"name": "x", "by_name": {"a": {}, "b": {"c": 3}}, "maybe": "\udcff"},
            "by_name.b.c: expected an object, got a whole number",
        ),
        ({"name": "\udcff", "\udcff": 1, "few": "9"}, "few: expected a whole number, got a string"),
        ({"name": "x", "by_name": {"\udcff": 3}}, r"by_name.\udcff: expected an object"),
        ({"name": "x", "by_name": {"a": {}, "b.c": {"d\n": {}}}}, r"by_name.b.c.d\n.number: is missing"),
        ({"name": "x", "by_name": {"a" * 99: 3}}, f"by_name.{'a' * 60}… (39 characters more): expected an"),
    ],
)  # fmt: skip
def test_refused(value: Any, message: str) -> None:
    """The field is named from the outermost, a dictionary's keys and all, with what was expected and what is there."""
    with pytest.raises(Invalid) as refused:
        checked(value, Outer)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("at", [0, 1, 499, 998, 999])
def test_the_key_is_found_among_many(at: int) -> None:
    """Wherever among a thousand keys the wrong value is, its key is named."""
    value = {f"k{number}": "3" if number == at else 3 for number in range(1000)}
    with pytest.raises(Invalid, match=f"^k{at}: expected a whole number, got a string$"):
        checked(value, dict[str, int])


def test_within_a_document() -> None:
    """A part of a document is named with its place in the whole."""
    with pytest.raises(Invalid) as refused:
        checked({"number": "x"}, Inner, at=("parts", 3))
    assert refused.value.path == ("parts", 3, "number")
    assert str(refused.value).startswith("parts[3].number: ")


def test_accepted() -> None:
    """Values are converted to the type; fields that it does not have are ignored; surrogates stay."""
    assert checked({"name": "\udcff", "share": 1, "colour": 3, "rows": [{"number": 7}]}, Outer) == Outer(
        "\udcff", share=1.0, rows=(Inner(7),)
    )
    assert checked({"name": "\udcff", "\udcfe": "\udcff"}, Outer) == Outer("\udcff")
    assert checked("a", Literal["a"]) == "a"  # type: ignore[arg-type]  # a form that mypy knows no type of


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not JSON: Expecting value at line 1, column 1"),
        (b'{"a": 1,\n}', "not JSON: "),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{"a": [1, NaN]}', "a[1]: expected a number, got NaN"),
        (b'{"a": -Infinity}', "a: expected a number, got -Infinity"),
        (b'{"a": {"b": 1e999}}', "a.b: the number 1e999 is too large"),
        (b'{"a": {"b": ' + b"9" * 5_000 + b"}}", f"a.b: a number of 5,000 digits; at most {DIGITS_MAX} are allowed"),
        (b'{"a": 0.' + b"9" * 5_000 + b"}", "a: a number of 5,002 digits; at most"),
        (DEEP, f"nested deeper than {DEPTH_MAX} levels"),
        (b'{"a": [], "b": ' + DEEP, f"b: nested deeper than {DEPTH_MAX} levels"),
        (b'{"a": {"[": {}, "b\\"": ' + DEEP, rf'a.b": nested deeper than {DEPTH_MAX} levels'),
        (b'{"b": ' + b'{"c": ' * 5_000 + b"1" + b"}" * 5_001, f"b.c.c: nested deeper than {DEPTH_MAX} levels"),
    ],
)
def test_not_parsed(text: bytes, message: str) -> None:
    """Text that is not JSON, or exceeds its limits, is refused with the place."""
    with pytest.raises(Invalid) as refused:
        parsed(text)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, None),
        (b'"' + b"[{" * 1_000 + b'"', "[{" * 1_000),
        (b"[" + b"[1]," * 1_000 + b"[]]", [*[[1]] * 1_000, []]),
        (b"9" * DIGITS_MAX, int("9" * DIGITS_MAX)),
        (b'{"a": 1e300, "b": "\\udcff"}', {"a": 1e300, "b": "\udcff"}),
    ],
)
def test_parsed(text: bytes, value: Any) -> None:
    """Any other text is parsed, up to the limits; brackets within strings and side by side do not count."""
    assert value is None or parsed(text) == value
    parsed(text)
