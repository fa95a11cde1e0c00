"""Contents may differ where undisturbed runs differ, and nowhere else."""

from __future__ import annotations

import random

import pytest

from crashmatrix.scenarios.kill.masks import alike, of_one_form, shared_start

RANDOM = random.Random(1)


def noise(count: int) -> bytes:
    return RANDOM.randbytes(count)


def framed(*noises: int, start: bytes = b"HEAD\0\0\0\1", end: bytes = b"the end") -> list[bytes]:
    """Contents that are the same but for so many random bytes in the middle."""
    return [start + noise(count) + end for count in noises]


ALIKE = {
    "a pid of as many digits": [b"pid 4714\n", b"pid 4711\n", b"pid 4719\n"],
    "a pid of more digits": [b"pid 10003\n", b"pid 9998\n", b"pid 10001\n"],
    "a pid alone": [b"10003", b"9998", b"9999"],
    "a name in a manifest": [b'{"file":"tmpa9x_.db"}', b'{"file":"tmp07zz.db"}', b'{"file":"tmpqq11.db"}'],
    "a UUID": [b"id: 1b4e28ba-2fa1-11d2", b"id: 6ba7b810-9dad-11d1", b"id: 886313e1-3b8a-5372"],
    "a time": [b"at 17:42:05.123456Z k=1", b"at 17:42:01.900000Z k=1", b"at 17:42:03.000001Z k=1"],
    "a nonce in a header": framed(4, 4, 4),
    "a random block": framed(512, 512, 512),
    "of another length each time": framed(90, 95, 99),
}

UNLIKE = {
    "nothing varies": [b"a=1", b"a=2", b"a=2"],
    "another word than the one that varies": [b"pid 4714 k=2\n", b"pid 4711 k=1\n", b"pid 4719 k=1\n"],
    "a line too few": [b"pid 4714\n", b"pid 4711\nk=1\n", b"pid 4719\nk=1\n"],
    "a line too many": [b"pid 4714\nk=1\nk=2\n", b"pid 4711\nk=1\n", b"pid 4719\nk=1\n"],
    "empty": [b"", b"4711", b"4719"],
    "cut short": [framed(4)[0][:-3], *framed(4, 4)],
    "a byte beside those that vary": [*framed(4, start=b"HEAD\0\0\0\2"), *framed(4, 4)],
    "another beginning": [*framed(90, start=b"HexD\0\0\0\1"), *framed(95, 99)],
    "another end": [*framed(90, end=b"the enx"), *framed(95, 99)],
}


@pytest.mark.parametrize("contents", ALIKE.values(), ids=ALIKE)
def test_alike(contents: list[bytes]) -> None:
    """A third run may have a third value where two runs have two."""
    left, shown, other = contents
    assert alike(left, shown, [other])
    assert not alike(left, shown, [])


@pytest.mark.parametrize("contents", UNLIKE.values(), ids=UNLIKE)
def test_unlike(contents: list[bytes]) -> None:
    """A real difference shows, however much else varies."""
    left, shown, other = contents
    assert not alike(left, shown, [other])


FORMS = {
    "a word that was the same so far": ([b"t=3 free 984\n", b"t=1 free 960\n", b"t=2 free 960\n"], True),
    "a number of another form": ([b"in 7.1e-05 s\n", b"in 5e-05 s\n", b"in 6e-05 s\n"], True),
    "memory that was not set": ([b"\0\1heap", b"\0\2HEAP", b"\0\3HEAP"], True),
    "a length that varies": (framed(101, 95, 99), True),
    "nothing varies": ([b"free 984\n", b"free 960\n", b"free 960\n"], False),
    "a line too few": ([b"t=3\n", b"t=1\na\n", b"t=2\na\n"], False),
    "a line too many": ([b"t=3\na\nb\n", b"t=1\na\n", b"t=2\na\n"], False),
    "no text": ([b"t=3\n\0", b"t=1\na", b"t=2\na"], False),
    "another length": ([b"\0\1heap.", b"\0\2HEAP", b"\0\3HEAP"], False),
    "far from the lengths that vary": (framed(110, 95, 99), False),
}


@pytest.mark.parametrize(("contents", "same"), FORMS.values(), ids=FORMS)
def test_of_one_form(contents: list[bytes], same: bool) -> None:
    """A content that varies may be another one than all of those seen, but it has as many lines, or bytes."""
    left, shown, other = contents
    assert of_one_form(left, shown, [other]) is same
    assert not of_one_form(left, shown, [])
    assert of_one_form(shown, shown, [other])


@pytest.mark.parametrize("length", [4, 16, 64])
def test_random_fields(length: int) -> None:
    """Random numbers sometimes have bytes in common. Three further runs are enough for nearly all of 200 others."""
    head, tail = bytes(range(1, 40)) + b"\0", b"\0" + bytes(range(40, 80))
    seen = [head + noise(length) + tail for _ in range(4)]
    assert sum(alike(head + noise(length) + tail, seen[0], seen[1:]) for _ in range(200)) >= 198
    assert not alike(head + noise(length) + tail[:-1] + b"x", seen[0], seen[1:])


@pytest.mark.parametrize(("texts", "count"), [(["abc", "abd", "abx"], 2), (["a", "ab"], 1), (["x"], 1), (["", "a"], 0)])
def test_shared_start(texts: list[str], count: int) -> None:
    assert shared_start(texts) == count
