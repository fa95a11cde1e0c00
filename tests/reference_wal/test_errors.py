"""The errors: one tree, as drawn in the module, each with its cause and the next step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crashmatrix.reference_wal import errors
from crashmatrix.reference_wal.errors import ReferenceWalError

CAUSE = OSError(5, "Input/output error")
PATH = Path("/data/t")
MESSAGES: list[tuple[ReferenceWalError, list[str]]] = [
    (errors.TableExists("t"), ["table 't'", "choose another name"]),
    (errors.UnknownTable("t", ["a", "b"]), ["no table 't'", "a, b"]),
    (errors.UnknownTable("t", []), ["no table 't'", "none"]),
    (errors.EngineClosed(), ["closed", "open it again"]),
    (errors.EngineLocked(PATH), ["/data/t", "another process", "close that one"]),
    (errors.LogPoisoned(PATH, CAUSE), ["/data/t", "Input/output error", "reopen the log"]),
    (
        errors.TransferFailed("s3://there", CAUSE),
        ["s3://there", "Input/output error", "transfer to the same place again"],
    ),
    (errors.SpillCorrupted(PATH), ["/data/t", "reopen the engine"]),
    (errors.LogCorrupted(PATH, "torn"), ["/data/t: torn", "restore it from a copy"]),
    (errors.LogCorrupted(PATH, "torn", offset=7, record=3), ["/data/t, byte 7, record 3: torn"]),
    (errors.TableCorrupted(PATH, "gone"), ["/data/t: gone", "restore the file from a copy"]),
]


@pytest.mark.parametrize(("error", "parts"), MESSAGES, ids=lambda value: type(value).__name__)
def test_messages(error: ReferenceWalError, parts: list[str]) -> None:
    """A message says where, what happened and what to do next."""
    assert [part for part in parts if part not in str(error)] == []


def drawn() -> dict[str, str]:
    """Return the parent of each class in the tree that the module's docstring draws."""
    parents, stack = {}, list[tuple[int, str]]()
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([│├└─ ]*)([A-Z]\w+)(?:\s|$)", line):
            depth = len(match[1]) // 4
            stack = [(level, name) for level, name in stack if level < depth]
            parents[match[2]] = stack[-1][1] if stack else "Exception"
            stack.append((depth, match[2]))
    return parents


def test_the_tree_is_the_one_drawn() -> None:
    """Every public class is in the tree of the docstring, below its base."""
    parents = {name: getattr(errors, name).__bases__[0].__name__ for name in errors.__all__}
    assert {name: parent for name, parent in drawn().items() if name in errors.__all__} == parents
    assert all(issubclass(getattr(errors, name), ReferenceWalError) for name in errors.__all__)
    assert issubclass(errors.InvalidInput, ValueError)
