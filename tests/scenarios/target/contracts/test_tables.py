"""`tables`: each table keeps its own contract."""

from __future__ import annotations

import pytest

from crashmatrix import Item, Promises, UsageError
from crashmatrix.scenarios.target.contract import Latest, Prefix, Tables

BOTH = Tables({"map": Latest(), "log": Prefix()})
JOURNAL = Promises.parse(
    b'attempt ["map",["a",1]]\nack ["map",["a",1]]\nattempt ["log",7]\nack ["log",7]\nattempt ["log",8]\nack ["log",8]\n'
)
MAP: Item = ["map", ["a", 1]]


@pytest.mark.parametrize(
    ("recovered", "expected"),
    [
        ([MAP, ["log", 7], ["log", 8]], []),
        ([["log", 7], ["log", 8]], ['loses: table map: key "a" is gone; 1 was acknowledged']),
        ([MAP, ["log", 7]], ["loses: table log: acknowledged, but gone: 8 (of 2 acknowledged)"]),
        ([], ["loses: table map: ", "loses: table log: "]),
    ],
)
def test_each_table_is_judged(recovered: list[Item], expected: list[str]) -> None:
    """A violation names its table."""
    found = [f"{one.verdict}: {one.explanation}" for one in BOTH.judge(JOURNAL, recovered)]
    assert [one[: len(wanted)] for one, wanted in zip(found, expected, strict=True)] == expected


def test_a_writer_that_goes_on_with_another_table_has_given_up() -> None:
    """Its attempt cannot come after one that began later."""
    lines = ['attempt:v ["map",["a",1]]', 'attempt:v ["log",7]', 'attempt:w ["map",["a",2]]', 'ack:w ["map",["a",2]]']
    promises = Promises.parse("".join(f"{line}\n" for line in lines).encode())
    (broken,) = BOTH.judge(promises, [["map", ["a", 1]]])
    assert (broken.verdict, broken.explanation[:40]) == ("loses", 'table map: key "a" came back as 1, thoug')


def test_a_writer_that_overlaps_itself_in_another_table_is_several() -> None:
    """Its attempt without an end may be in flight, though it goes on within its table."""
    lines = [
        'attempt ["map",["a",1]]',
        'attempt ["log",7]',
        'ack ["map",["a",1]]',
        'attempt ["log",8]',
        'ack ["log",8]',
    ]
    promises = Promises.parse("".join(f"{line}\n" for line in lines).encode())
    assert BOTH.judge(promises, [MAP, ["log", 8]]) == []


def test_a_table_that_was_stored_again() -> None:
    """Each table says whether equal items may be one; a map that is stored again beside them says nothing else."""
    lines = b'attempt ["map",["a",1]]\nattempt ["log",7]\nattempt ["log",8]\n'
    life = Promises.parse(lines, [MAP, ["log", 7]])
    assert BOTH.stored_again(life) == ['["log",7]']
    assert Tables({"map": Latest(), "log": Prefix(retries=True)}).stored_again(life) == []
    assert BOTH.stored_again(Promises.parse(b"attempt 7\n")) == []  # The check refuses it.


@pytest.mark.parametrize(
    ("item", "message"),
    [(["other", 1], "no contract for table 'other'; there are map, log"), (7, r"needs items \[table, item\]")],
)
def test_senseless_items(item: Item, message: str) -> None:
    """A table without a contract, and an item without a table, are the target's mistake."""
    with pytest.raises(UsageError, match=message):
        BOTH.judge(Promises(), [item])
