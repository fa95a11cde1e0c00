"""Changes in words, one line for each file, directory or part of the filesystem."""

import pytest

from crashmatrix.faults.disk.trace.named import DATA, JOURNAL, METADATA, NAMES, SIZE, UNKNOWN, Named, in_words


@pytest.mark.parametrize(
    ("named", "text"),
    [
        (Named(kind=DATA, path="f", start=1000, stop=5096), "f, bytes 1,000 to 5,095"),
        (Named(kind=SIZE, path="f", stop=4096), "f, its size: 4,096 bytes"),
        (Named(kind=NAMES, path=".", what="a made"), "the store's folder: a made"),
        (Named(kind=JOURNAL, what="the commit"), "the filesystem's journal: the commit"),
        (Named(kind=METADATA, what="inodes"), "metadata of the filesystem: inodes"),
        (Named(kind=METADATA), "metadata of the filesystem"),
        (Named(kind=UNKNOWN), "a part of the disk that no file has"),
        (Named(kind=UNKNOWN, what="zeros"), "a part of the disk that no file has: zeros"),
    ],
)
def test_each_kind_in_words(named: Named, text: str) -> None:
    assert named.text == text
    assert in_words([named]) == [text]


@pytest.mark.parametrize(
    ("starts", "text"),
    [
        ((0, 10, 40), "f, bytes 0 to 19, 40 to 49"),
        ((40, 0, 10), "f, bytes 0 to 19, 40 to 49"),
        ((0, 0, 5), "f, bytes 0 to 14"),
        ((0, 20, 40, 60), "f, bytes 0 to 9, 20 to 29, 40 to 49, 60 to 69"),
        ((0, 20, 40, 60, 80, 100), "f, bytes 0 to 9, 20 to 29, 40 to 49, 60 to 69 and 2 ranges more"),
    ],
)
def test_ranges_that_touch_are_one(starts: tuple[int, ...], text: str) -> None:
    """Writes to one file are given as ranges; ranges that touch are joined."""
    assert in_words([Named(kind=DATA, path="f", start=start, stop=start + 10) for start in starts]) == [text]


def test_files_are_kept_apart_and_repeats_are_one() -> None:
    """Each file has its own line, in the order of first changes."""
    f, g = (Named(kind=DATA, path=path, start=0, stop=10) for path in "fg")
    names = Named(kind=NAMES, path=".", what="a made")
    assert in_words([names, g, f, names, g]) == [names.text, "g, bytes 0 to 9", "f, bytes 0 to 9"]
