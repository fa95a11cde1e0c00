"""A file's content as a value: whatever is written or cut off, it is what a real file would hold."""

import random

import pytest

from crashmatrix.faults.disk.posix.content import EMPTY, Content


def bytes_of(content: Content) -> bytes:
    whole = bytearray(content.size)
    for offset, data in content.runs():
        whole[offset : offset + len(data)] = data
    return bytes(whole[: content.size])


@pytest.mark.parametrize("seed", range(5))
def test_it_holds_what_a_file_would(seed: int) -> None:
    """A content equals a bytearray after any writes and sizes; digests and sizes are equal exactly for equal bytes."""
    chance, content, model = random.Random(seed), EMPTY, bytearray()
    seen: dict[tuple[int, int], bytes] = {}
    for _ in range(60):
        if chance.random() < 0.4:
            size = chance.choice([0, 100, 4096, 5000, 8192, 12_000])
            model = model[:size].ljust(size, b"\0")
            content = content.resized(size)
        else:
            offset, length = chance.randrange(12_000), chance.choice([1, 512, 4096, 9000])
            data = chance.choice([b"\0", b"x", b"y"]) * length
            content = content.written([(offset, memoryview(data))])
            data = data[: max(0, len(model) - offset)]
            model[offset : offset + len(data)] = data
        assert bytes_of(content) == model
        assert seen.setdefault((content.size, content.digest), bytes(model)) == model
    assert len(set(seen.values())) == len(seen) > 5


def test_what_lies_beyond_the_size_is_cut_off() -> None:
    assert bytes_of(EMPTY.written([(0, b"x")])) == b""
    assert bytes_of(EMPTY.resized(2).written([(1, b"xyz")])) == b"\0x"


def test_a_changed_copy_leaves_the_first_alone() -> None:
    """Copies share pages, not changes; pages of zeros cost nothing."""
    first = EMPTY.resized(8192).written([(0, b"a")])
    second = first.written([(4096, b"b"), (0, b"c")])
    assert (bytes_of(first)[:1], bytes_of(second)[:1]) == (b"a", b"c")
    assert (first.pages, second.pages, second.written([(0, bytes(8192))]).pages) == (1, 2, 0)
    assert first.written([(0, b"a")]).digest == first.digest


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (4090, 20), (0, 9000), (5000, 6000), (8000, 0), (20_000, 5)])
def test_any_bytes_can_be_read(offset: int, length: int) -> None:
    """Bytes across pages, and zeros beyond the size."""
    data = bytes(range(1, 256)) * 33
    content = EMPTY.resized(len(data)).written([(0, data)])
    assert content.read(offset, length) == (data + bytes(30_000))[offset : offset + length]
