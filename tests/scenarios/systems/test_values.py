"""The values that the built-in systems store: drawn from seed and number alone, compared byte by byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.values import ITEMS, check_value, digest_of, file_sizes, value_of


def test_drawn_from_seed_and_number() -> None:
    """The same seed and number give the same bytes, others give others; some values span several pages."""
    values = {(seed, number): value_of(seed, number) for seed in (0, 1) for number in range(ITEMS)}
    assert all(value_of(*key) == value for key, value in values.items())
    assert len(set(values.values())) == len(values)
    assert {len(value) > 4096 for value in values.values()} == {True, False}


VALUE = value_of(3, 5)
WRONG = {
    "empty": (b"", "0 of them"),
    "shorter": (VALUE[:-1], "wrong from its end"),
    "longer": (VALUE + b"x", "wrong from its end"),
    "first byte": (bytes([VALUE[0] ^ 1]) + VALUE[1:], "wrong from 0"),
    "zeros": (bytes(len(VALUE)), "wrong from"),
    "another item": (value_of(3, 6), "wrong from"),
}


@pytest.mark.parametrize(("found", "where"), WRONG.values(), ids=WRONG)
def test_other_bytes_are_corrupt(found: bytes, where: str) -> None:
    """Any other bytes are refused, and the message names the first one that differs."""
    check_value(3, 5, VALUE)
    with pytest.raises(PromiseBroken, match="item 5 came back with other bytes") as caught:
        check_value(3, 5, found)
    assert caught.value.verdict == "corrupt" and where in str(caught.value)


def test_sizes_and_digests(tmp_path: Path) -> None:
    """Sizes name every file below the folder; the digest depends on names and items, in their order."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"xyz")
    (tmp_path / "z").touch()
    assert file_sizes(tmp_path) == ["a/file 3", "z 0"]
    digests = [digest_of(*case) for case in ([["a"], [1]], [["a"], [2]], [["b"], [1]], [["a"], [1, 1]], [[], [1]])]
    assert len(set(digests)) == len(digests)
    assert digest_of(iter(["a"]), [1]) == digests[0]
