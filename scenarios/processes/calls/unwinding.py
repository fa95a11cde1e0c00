"""The callers of a waiting system call, from the unwind tables of the program (.eh_frame), as exceptions and debuggers find them.

Every program of gcc, clang, Rust and Go with C has these tables, also without frame pointers. A waiting thread shows its stack
pointer and its place (/proc/TID/syscall), but no other register. So a frame that is found by its frame pointer ends the walk,
unless a frame before it has stored that pointer: of the C library, which is between a program and the kernel, no frame is. Then
nothing is known, and nothing is said. x86-64 only.

Sources: the System V ABI for x86-64, the Linux Standard Base on .eh_frame, DWARF 5 section 6.4.
"""

from __future__ import annotations

import mmap
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

__all__ = ["Frame", "callers"]

_FRAMES_MAX = 40
_RBP, _RSP = 6, 7
_PC_RELATIVE_INT = 0x1B
_SAME, _GONE = "same", "gone"


@dataclass(frozen=True)
class Frame:
    """A caller: the file of its code as the process sees it, and the address in that file's own terms, behind the call."""

    pid: int
    path: str
    address: int

    @property
    def file(self) -> Path:
        """The file, whatever the process sees of the machine."""
        return Path(f"/proc/{self.pid}/root{self.path}")


@dataclass(frozen=True)
class _Row:
    """How to leave a frame: the frame's address is a register and an offset; where the caller's rbp is, from there."""

    register: int = _RSP
    offset: int = 8
    rbp: int | str = _SAME


def callers(thread: int) -> Iterator[Frame]:
    """Yield the frames of a thread that waits before a system call, the innermost first, as far as they are known.

    Raises OSError, struct.error: it is gone, or its memory is not as it should be.
    """
    words = Path(f"/proc/{thread}/syscall").read_text().split()
    if platform.machine() != "x86_64" or len(words) != 9:
        return
    stack, place, rbp = int(words[7], 16), int(words[8], 16), 0
    maps, tables = _mappings(thread), dict[str, _Table]()
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        for _ in range(_FRAMES_MAX):
            found = next((each for each in maps if each[0] <= place < each[1]), None)
            if found is None or not found[3].startswith("/"):
                return
            start, _, offset, path = found
            frame = Frame(thread, path, 0)
            if path not in tables:
                tables[path] = _Table(_mapped(frame.file))
            table = tables[path]
            frame = replace(frame, address=table.address(place - start + offset))
            yield frame
            row = table.row(frame.address - 1)
            if row is None or (row.register == _RBP and not rbp):
                return
            base = (stack if row.register == _RSP else rbp) + row.offset
            if isinstance(row.rbp, int):
                rbp = _word(memory, base + row.rbp)
            elif row.rbp == _GONE:
                rbp = 0
            stack, place = base, _word(memory, base - 8)


def _mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as opened:
        return mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)


def _word(memory: object, address: int) -> int:
    memory.seek(address)  # type: ignore[attr-defined]  # an open file
    (value,) = struct.unpack("<Q", memory.read(8))  # type: ignore[attr-defined]
    return int(value)


def _mappings(thread: int) -> list[tuple[int, int, int, str]]:
    """Start, end, offset in the file, and path of each mapping that can be executed."""
    found = []
    for line in Path(f"/proc/{thread}/maps").read_text(errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        if "x" in fields[1] and len(fields) == 6:
            start, _, end = fields[0].partition("-")
            found.append((int(start, 16), int(end, 16), int(fields[2], 16), fields[5]))
    return found


class _Table:
    """The unwind table of one file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._loads, self._at, self._size, self._address = _parts(data)

    def address(self, offset: int) -> int:
        """From a place in the file to the address of it."""
        return next((offset - at + address for at, size, address in self._loads if at <= offset < at + size), offset)

    def row(self, address: int) -> _Row | None:
        """How to leave a frame that is at an address; None if that is not known."""
        at, end = self._at, self._at + self._size
        while at + 8 <= end:
            (length,) = struct.unpack_from("<I", self._data, at)
            if length in (0, 0xFFFFFFFF):
                return None
            (back,) = struct.unpack_from("<I", self._data, at + 4)
            if back:
                place = at + 8
                first, count = struct.unpack_from("<iI", self._data, place)
                first += self._address + place - self._at
                if first <= address < first + count:
                    common = _Common.read(self._data, at + 4 - back)
                    return common.row(self._data, place + 8, at + 4 + length, address - first) if common else None
            at += 4 + length
        return None


@dataclass(frozen=True)
class _Common:
    """A common information entry: the units of its instructions, and the first of them."""

    code_unit: int
    data_unit: int
    instructions: bytes

    @classmethod
    def read(cls, data: mmap.mmap, at: int) -> _Common | None:
        (length,) = struct.unpack_from("<I", data, at)
        end = at + 4 + length
        stop = data.find(b"\0", at + 9)
        augmentation = data[at + 9 : stop].decode("latin-1")
        reader = _Reader(data, stop + 1)
        code_unit, data_unit, _ = reader.unsigned(), reader.signed(), reader.unsigned()
        if not augmentation.startswith("z"):
            return None
        rest = reader.unsigned() + reader.at
        for letter in augmentation[1:]:
            if letter == "R" and reader.byte() != _PC_RELATIVE_INT:
                return None
            if letter == "P":
                reader.at += {0x9B: 5, 0x1B: 5, 0x00: 9, 0x03: 5}.get(data[reader.at], 5)
            if letter == "L":
                reader.byte()
        return cls(code_unit, data_unit, data[rest:end])

    def row(self, data: mmap.mmap, at: int, end: int, distance: int) -> _Row | None:
        """Follow the instructions for a frame up to a distance from its function's first byte."""
        reader = _Reader(data, at)
        length = reader.unsigned()
        run = _Run(self, distance)
        return run.result(self.instructions, data[reader.at + length : end])


@dataclass
class _Run:
    """The instructions of a frame, carried out."""

    common: _Common
    left: int
    row: _Row | None = field(default_factory=_Row)
    kept: list[_Row | None] = field(default_factory=list)

    def result(self, first: bytes, second: bytes) -> _Row | None:
        for code in (first, second):
            initial = self.row
            reader = _Reader(code, 0)
            while reader.at < len(code) and self.left >= 0 and self.row:
                self._one(reader, initial)
        return self.row

    def _one(self, reader: _Reader, initial: _Row | None) -> None:
        code = reader.byte()
        kind, low = code & 0xC0, code & 0x3F
        if kind == 0x40:
            self._advance(low)
        elif kind == 0x80:
            self._saved(low, reader.unsigned() * self.common.data_unit)
        elif kind == 0xC0:
            self._saved(low, initial.rbp if initial else _GONE)
        else:
            self._extended(code, reader, initial)

    def _extended(self, code: int, reader: _Reader, initial: _Row | None) -> None:
        match code:
            case 0x00:
                pass
            case 0x02 | 0x03 | 0x04:
                self._advance(reader.number(1 << code - 2))
            case 0x05:
                self._saved(reader.unsigned(), reader.unsigned() * self.common.data_unit)
            case 0x06:
                self._saved(reader.unsigned(), initial.rbp if initial else _GONE)
            case 0x07 | 0x08:
                self._saved(reader.unsigned(), _GONE if code == 0x07 else _SAME)
            case 0x0A:
                self.kept.append(self.row)
            case 0x0B:
                self.row = self.kept.pop()
            case 0x0C if self.row:
                self.row = replace(self.row, register=reader.unsigned(), offset=reader.unsigned())
            case 0x0D if self.row:
                self.row = replace(self.row, register=reader.unsigned())
            case 0x0E if self.row:
                self.row = replace(self.row, offset=reader.unsigned())
            case 0x10 | 0x16:
                register, length = reader.unsigned(), reader.unsigned()
                reader.at += length
                self._saved(register, _GONE)
            case 0x2E:
                reader.unsigned()
            case _:
                self.row = None  # An expression, or what no compiler here writes.
        if self.row and self.row.register not in (_RBP, _RSP):
            self.row = None

    def _advance(self, units: int) -> None:
        self.left -= units * self.common.code_unit

    def _saved(self, register: int, place: int | str) -> None:
        if register == _RBP and self.row:
            self.row = replace(self.row, rbp=place)


class _Reader:
    """Reads numbers from bytes."""

    def __init__(self, data: bytes | mmap.mmap, at: int) -> None:
        self._data, self.at = data, at

    def byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def number(self, size: int) -> int:
        self.at += size
        return int.from_bytes(self._data[self.at - size : self.at], "little")

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self) -> int:
        at = self.at
        value = self.unsigned()
        bits = 7 * (self.at - at)
        return value - (1 << bits) if value >> bits - 1 else value


def _parts(data: mmap.mmap) -> tuple[list[tuple[int, int, int]], int, int, int]:
    """The parts of an ELF file that are loaded (offset, size, address), and place, size and address of its .eh_frame."""
    if data[:5] != b"\x7fELF\x02":
        return [], 0, 0, 0
    segments, sections = struct.unpack_from("<QQ", data, 0x20)
    size, count, section_size, section_count, names = struct.unpack_from("<5H", data, 0x36)
    loads = []
    for number in range(count):
        kind, _, at, address, _, length = struct.unpack_from("<IIQQQQ", data, segments + number * size)
        if kind == 1:
            loads.append((at, length, address))
    headers = [struct.unpack_from("<IIQQQQ", data, sections + n * section_size) for n in range(section_count)]
    text = headers[names][4] if headers else 0
    for name, _, _, address, at, length in headers:
        if data[text + name : text + name + 10] == b".eh_frame\0":
            return loads, at, length, address
    return loads, 0, 0, 0
