"""Wrong values: ids, lengths, variables, checksums, flags."""

import pytest

from tests.scenarios.mutation.operators.planted import planted

TYPED = "def f(self, lo: int, hi: int, name: str):"


@pytest.mark.parametrize(
    ("operator", "body", "mutants"),
    [
        ("loop-short", "for x in xs:\n    a(x)", ["for x in list(xs)[:-1]:\n    a(x)", "for x in list(xs)[1:]:\n    a(x)"]),
        ("loop-short", "return [x for x in f(y)]", ["return [x for x in list(f(y))[:-1]]", "return [x for x in list(f(y))[1:]]"]),
        ("off-by-one", "return batch_id", ["return (batch_id + 1)", "return (batch_id - 1)"]),
        ("off-by-one", "seek(len(data))", ["seek((len(data) + 1))", "seek((len(data) - 1))"]),
        ("off-by-one", "lengths.append(name)\nbatch_id = 3", []),
        ("off-by-one", "raise Bad(offset)", []),
        ("short-checksum", "return xxh64(data, 1)", ["return xxh64((data)[:-1], 1)"]),
        ("short-checksum", "h.update(b'')\nh.digest()", []),
        ("drop-flag", "open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)", [
            "open(path, os.O_CREAT | os.O_CLOEXEC)", "open(path, os.O_EXCL | os.O_CLOEXEC)"]),
        ("wrong-variable", "x = path.lo\nreturn 1", ["x = path.hi\nreturn 1"]),
        ("wrong-variable", "self.lo()", []),
    ],
)  # fmt: skip
def test_operator(operator: str, body: str, mutants: list[str]) -> None:
    """Each bug is planted where it can be, once, and nowhere else."""
    assert planted(operator, body) == mutants


@pytest.mark.parametrize(
    ("body", "mutants"),
    [
        ("return lo", ["return hi"]),
        ("return name", []),
        ("a: str = ''\nreturn name", ["a: str = ''\nreturn a"]),
    ],
)
def test_variables_of_one_type(body: str, mutants: list[str]) -> None:
    """A parameter takes the place of another of its type."""
    assert planted("wrong-variable", body, TYPED) == mutants


def test_attributes_of_one_type() -> None:
    """An attribute of the object takes the place of another of its type; the constructor's annotations say which."""
    body = "def __init__(self):\n    self.a: int = 1\n    self.b: int = 2\ndef g(self):\n    return self.a"
    assert [text.splitlines()[-1] for text in planted("wrong-variable", body, "class C:")] == ["    return self.b"]
