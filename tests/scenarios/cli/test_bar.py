"""A time in words, as short as one needs it."""

import pytest

from crashmatrix.scenarios.cli.bar import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "about 1 s"), (40, "about 40 s"), (100, "about 2 min"), (5000, "about 83 min"), (9000, "about 2.5 h")],
)
def test_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
