"""Errors of failpoints survive pickling, and say what to do next."""

import pickle

import pytest

from crashmatrix import faults


@pytest.mark.parametrize(
    "error",
    [
        faults.InvalidAction("kil", 1, "unknown task 'kil'", "did you mean 'kill'?"),
        faults.InvalidName("a b"),
        faults.AlreadyDeclared("a", "one.py:1", "two.py:2"),
        faults.NotDeclared("a.b", "a.c"),
        faults.ScenarioNotHit(("a",), ("b",)),
        faults.Panic("failpoint a panic"),
    ],
)
def test_errors_survive_pickling(error: BaseException) -> None:
    """An error that leaves a child process arrives as what it was."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            faults.InvalidAction("kil", 1, "unknown task 'kil'", "did you mean 'kill'?"),
            "column 1: unknown task 'kil'; did you mean 'kill'?\n    kil\n    ^",
        ),
        (
            faults.InvalidAction("a\n\tb", 4, "this", "do that"),
            "column 4: this; do that\n    a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b\n       ^",
        ),
        (
            faults.InvalidName("a b"),
            "'a b' cannot name a failpoint; write it without whitespace, '=' and ';', as in 'wal.before_sync'",
        ),
        (faults.NotDeclared("a.c", "a.b"), "no failpoint 'a.c' is declared; did you mean 'a.b'?"),
        (faults.NotDeclared("a.c"), "no failpoint 'a.c' is declared; import the module that declares it first"),
        (
            faults.ScenarioNotHit(("a",), ("b", "c")),
            "never hit: a (does the block run the code they stand in?); "
            "never declared: b, c (spelt right, module imported?); pass allow_unhit=True if that is meant",
        ),
    ],
)
def test_messages(error: faults.FaultsError, text: str) -> None:
    """The cause, then the next step."""
    assert str(error) == text


def test_one_line_stays_one_line() -> None:
    """`one_line` is one line, even if the text contains a line end."""
    error = faults.InvalidAction("a\nb", 2, "this", "do that")
    assert error.one_line == "column 2 of 'a\\nb': this; do that"


def test_a_panic_is_no_error_of_the_package() -> None:
    """A panic is not caught as an exception, either: engines are full of handlers that would go on."""
    assert not issubclass(faults.Panic, Exception)
