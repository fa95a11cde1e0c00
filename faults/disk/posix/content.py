"""A file's content as a value: changed copies share the unchanged pages, and contents are compared by one number."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

__all__ = ["EMPTY", "Content"]

_PAGE = 4096
_ZEROS = bytes(_PAGE)


@dataclass(frozen=True, slots=True)
class Content:
    """A file's size in bytes and its pages that are not all zeros, each filled up with zeros.

    `digest` is the exclusive or of a 128-bit hash for each page. Size and digest are equal for equal contents only.
    """

    size: int = 0
    digest: int = 0
    _pages: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def pages(self) -> int:
        """How many pages it has that are not all zeros."""
        return len(self._pages)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from an offset on; zeros beyond the size."""
        found = bytearray()
        while length > len(found):
            number, start = divmod(offset + len(found), _PAGE)
            found += (self._pages.get(number) or _ZEROS)[start : start + length - len(found)]
        return bytes(found)

    def written(self, pieces: Iterable[tuple[int, bytes | memoryview]]) -> "Content":
        """Write the (offset, data) over it; bytes beyond the size are cut off."""
        new: dict[int, bytearray] = {}
        for offset, data in pieces:
            stop = min(offset + len(data), self.size)
            position = offset
            while position < stop:
                number, start = divmod(position, _PAGE)
                length = min(_PAGE - start, stop - position)
                page = new.setdefault(number, bytearray(self._pages.get(number) or _PAGE))
                page[start : start + length] = data[position - offset : position - offset + length]
                position += length
        return self._with({number: bytes(page) for number, page in new.items()}, self.size)

    def resized(self, size: int) -> "Content":
        """Cut it off, or extend it by zeros."""
        if size >= self.size:
            return Content(size, self.digest, self._pages)
        last, kept = divmod(size, _PAGE)
        gone = {number: b"" for number in self._pages if number >= last}
        if kept and last in gone:
            gone[last] = self._pages[last][:kept].ljust(_PAGE, b"\0")
        return self._with(gone, size)

    def runs(self) -> Iterator[tuple[int, bytes]]:
        """The (offset, data) that turn zeros into it; the data may reach beyond the size."""
        for number in sorted(self._pages):
            yield number * _PAGE, self._pages[number]

    def _with(self, changed: Mapping[int, bytes], size: int) -> "Content":
        pages, digest = dict(self._pages), self.digest
        for number, page in changed.items():
            if before := pages.pop(number, b""):
                digest ^= _hash(number, before)
            if page not in (b"", _ZEROS):
                pages[number] = page
                digest ^= _hash(number, page)
        return Content(size, digest, pages)


EMPTY = Content()
"""A file without any byte."""


def _hash(number: int, page: bytes) -> int:
    digest = blake2b(page, digest_size=16, salt=number.to_bytes(16, "little"))
    return int.from_bytes(digest.digest(), "little")
