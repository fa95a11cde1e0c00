"""The operators that every mutation tester has."""

import pytest

from tests.scenarios.mutation.operators.planted import planted


@pytest.mark.parametrize(
    ("operator", "body", "mutants"),
    [
        ("boundary", "return a < b", ["return a <= b"]),
        ("boundary", "return (a) <= b < c", ["return (a) < b < c", "return (a) <= b <= c"]),
        ("boundary", "return (a  # <\n        < b)", []),
        ("comparison", "return a not in b", ["return a in b"]),
        ("comparison", "if a == b:\n    c()", []),
        ("negate-condition", "while a and b:\n    c()", ["while (not (a and b)):\n    c()"]),
        ("negate-condition", "return [x for x in y if x]", ["return [x for x in y if (not (x))]"]),
        ("never", "if a:\n    b()", ["if False:\n    b()"]),
        ("never", "if a:\n    b()\nelse:\n    c()", []),
        ("boolean", "return a and b", ["return a or b", "return True and b", "return a and True"]),
        ("boolean", "return not a", ["return bool(a)"]),
        ("arithmetic", "return a + 1", ["return a - 1"]),
        ("arithmetic", "return 'a' + b", []),
        ("arithmetic", "return a << (b)", ["return a >> (b)"]),
        ("constant", "return f(1, True)", ["return f((2), True)", "return f(1, False)"]),
        ("constant", "logger.info('%s', 1)", []),
        ("constant", "raise Bad(f'{1}')", []),
        ("return-none", "return a", ["return None"]),
        ("return-none", "return None", []),
        ("break-continue", "for x in y:\n    break", ["for x in y:\n    continue"]),
    ],
)
def test_operator(operator: str, body: str, mutants: list[str]) -> None:
    """Each bug is planted where it can be, once, and nowhere else."""
    assert planted(operator, body) == mutants


def test_yes_and_no() -> None:
    """A function that answers yes or no answers the contrary."""
    assert planted("return-none", "return a", "def f(a) -> bool:") == ["return not (a)"]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("def f(a: 1 = X) -> 2:", "pass"),
        ("if TYPE_CHECKING:", "X = 1"),
        ("class C:", "__all__ = [f(1)]"),
        ("def f(a):", "match a:\n    case 1:\n        pass"),
        ("def f(a):", "assert a == 1, f'{1}'"),
    ],
)
def test_places_without_numbers_that_matter(head: str, body: str) -> None:
    """Annotations, patterns, assertions and code for type checkers are left alone."""
    assert planted("constant", body, head) == []
