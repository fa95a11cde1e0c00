"""Notes of executed lines."""

import pytest

from crashmatrix.scenarios.mutation.overlay_hook import noting

CODE = '''
from __future__ import annotations

def f(x):
    """A docstring."""
    try:
        with open("/dev/null") as file:
            for y in x:
                if y > 1:
                    break
                elif y:
                    continue
            else:
                return 1
    except ValueError:
        raise
    finally:
        z = 3
    match z:
        case 3:
            return 2
    return 4
'''


@pytest.mark.parametrize(
    ("given", "answer", "lines"),
    [
        ([], 1, {5, 6, 7, 8, 14, 18}),
        ([2], 2, {5, 6, 7, 8, 9, 10, 18, 19, 21}),
        ([1], 1, {5, 6, 7, 8, 9, 11, 12, 14, 18}),
    ],
)
def test_each_executed_statement_is_noted(given: list[int], answer: int, lines: set[int]) -> None:
    """In every kind of block, by its first line; the function does what it did."""
    notes = dict[int, int]()
    names = {"notes": notes}
    exec(compile(noting(CODE, "notes"), "store.py", "exec"), names)
    assert names["f"](given) == answer  # type: ignore[operator]
    assert set(notes) == lines
