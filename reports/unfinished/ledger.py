"""`resume/` in a report directory: the findings of a run that is not finished, so that a resumed run need not repeat them.

    resume/ledger       frames: length, checksum, then key and value in MessagePack; appended as they come
    resume/contents     a file's content or a recorded disk, by name; each is whole once it has its name

A value is put only after the contents that it names have been kept. A SIGKILL leaves whole frames, and perhaps a part of the
last one. A power cut may lose the end of the ledger, or contents: a frame whose checksum is wrong ends the ledger, and users of
contents check them. So what is lost is found out again, and nothing wrong is believed.

Values are decoded as the types that the reader names, so a ledger from elsewhere holds data and no code. Everything is written
through a `Synced` thread: one sync serves everything that was written meanwhile.
"""

from __future__ import annotations

import _thread
import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, TypeVar

import msgspec
import xxhash

from crashmatrix.reports.folder import Folder, allocated, open_file

__all__ = ["CONTENTS_BYTES_MAX", "RESUME", "Ledger", "Synced"]

RESUME = "resume"
"""The folder, in the report directory."""

CONTENTS_BYTES_MAX = 2**30
"""How much is kept at most, in bytes; what goes beyond is found out again by a resumed run."""

_LEDGER, _CONTENTS = "ledger", "contents"
_FRAME = struct.Struct("<IQ")
_SYNCS_APART_SECONDS = 0.1
_PIECE_BYTES = 2**20

T = TypeVar("T")


class Synced:
    """Syncs files in a thread of its own, soon after each write. ``error`` is why that failed, if it did."""

    def __init__(self) -> None:
        self.error: OSError | None = None
        self._written, self._ended = SimpleQueue[int | None](), SimpleQueue[None]()
        _thread.start_new_thread(self._work, ())  # No condition is shared with a thread that may be interrupted.

    def written(self, file: BinaryIO) -> None:
        """Have a file synced."""
        self._written.put(file.fileno())

    def close(self) -> None:
        """Wait until everything is synced. Call it before the files are closed."""
        self._written.put(None)
        self._ended.get()

    def _work(self) -> None:
        ended = False
        while not ended:
            wanted = {self._written.get()}
            while not self._written.empty():
                wanted.add(self._written.get())
            ended = None in wanted
            try:
                for descriptor in wanted - {None}:
                    os.fdatasync(descriptor)  # type: ignore[arg-type]  # None was taken out
            except OSError as error:
                self.error = error
            if not ended:
                time.sleep(_SYNCS_APART_SECONDS)
        self._ended.put(None)


def _copy_data(source: BinaryIO, to: BinaryIO) -> None:
    """Copy an open file to an empty one, holes as holes."""
    size, at, (reads, writes) = os.fstat(source.fileno()).st_size, 0, (source.fileno(), to.fileno())
    os.ftruncate(writes, size)
    while at < size:
        try:
            at = os.lseek(reads, at, os.SEEK_DATA)
        except OSError:  # Only a hole is left.
            return
        stop = os.lseek(reads, at, os.SEEK_HOLE)
        while at < stop:
            at += os.pwrite(writes, os.pread(reads, min(_PIECE_BYTES, stop - at), at), at)


@cache
def _decoder(kind: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(tuple[str, kind], dec_hook=lambda of, value: of(value))


_encode = msgspec.msgpack.Encoder(enc_hook=os.fspath).encode  # A path is its text.


class Ledger:
    """The findings of a run, by key. Thread-safe. Until `begin`, nothing is written; one without a folder never writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._early: list[Callable[[], object]] = []
        self._places: dict[str, tuple[int, int]] = {}
        self._names: set[str] = set()
        self._bytes = 0
        self._file: BinaryIO | None = None
        self._contents: Folder | None = None
        self._synced: Synced | None = None
        self._discards = True

    @property
    def resumes(self) -> bool:
        """Whether there is something to go on from."""
        return bool(self._places)

    def expect(self) -> None:
        """There will be a folder: keep in mind what is put until then."""
        self._discards = False

    def load(self, report: Folder, synced: Synced) -> None:
        """Go on with the ledger of an earlier run, if there is one. Raises OSError."""
        if RESUME not in report.names():
            return
        with report.within(RESUME) as resume:
            if _LEDGER not in resume.names() or _CONTENTS not in resume.names():
                return
            self._open(resume, synced)
            assert self._contents is not None
            self._names = set(self._contents.names())
            self._bytes = sum(map(self._contents.allocated, self._names))
        self._read()
        if not self._places:
            self.close()

    def begin(self, report: Folder, synced: Synced) -> None:
        """Begin in a report directory, with what was put before. Raises OSError."""
        if self._file is not None or self._discards:
            return
        report.remove_tree(RESUME)
        with report.within(RESUME, make=True) as resume:
            resume.write(_LEDGER, b"")
            resume.within(_CONTENTS, make=True).close()
            with self._lock:
                self._open(resume, synced)
                early, self._early = self._early, []
        for call in early:
            call()

    def _open(self, resume: Folder, synced: Synced) -> None:
        self._file = resume.open_to_append(_LEDGER)
        self._contents, self._synced = resume.within(_CONTENTS), synced

    def _read(self) -> None:
        """Find the whole frames, and cut off the rest."""
        assert self._file is not None
        size, at = os.fstat(self._file.fileno()).st_size, 0
        while at + _FRAME.size <= size:
            length, checksum = _FRAME.unpack(os.pread(self._file.fileno(), _FRAME.size, at))
            frame = os.pread(self._file.fileno(), length, at + _FRAME.size)
            if len(frame) < length or xxhash.xxh3_64_intdigest(frame) != checksum:
                break
            key, _ = msgspec.msgpack.decode(frame, type=tuple[str, msgspec.Raw])
            self._places[key] = at + _FRAME.size, length
            at += _FRAME.size + length
        self._file.truncate(at)
        self._file.seek(at)

    def keys(self) -> list[str]:
        """Return the keys that an earlier run has left."""
        return [*self._places]

    def get(self, key: str, kind: type[T]) -> T | None:
        """Return a value; None if there is none, or it is not of this type."""
        if self._file is None or key not in self._places:
            return None
        at, length = self._places[key]
        of: Any = kind  # A type, in the words of `cache`.
        try:
            found: T = _decoder(of).decode(os.pread(self._file.fileno(), length, at))[1]
        except (OSError, msgspec.MsgspecError):
            return None
        return found

    def put(self, key: str, value: object) -> None:
        """Note a value. One that cannot be written is found out again by a resumed run."""
        if self._discards:
            return
        with suppress(
            TypeError, ValueError, OverflowError
        ):  # A number of more than 64 bits, a name that is not Unicode.
            self._write(key, _encode((key, value)))

    def _write(self, key: str, frame: bytes) -> None:
        with self._lock:
            if self._file is None:
                self._early.append(lambda: self._write(key, frame))
                return
            with suppress(OSError):
                self._file.write(_FRAME.pack(len(frame), xxhash.xxh3_64_intdigest(frame)) + frame)
                self._file.flush()
                assert self._synced is not None
                self._synced.written(self._file)

    def keep(self, name: str, file: Path) -> bool:
        """Keep a copy of a file; returns whether it will be there for a resumed run."""
        if self._discards or name in self._names:
            return not self._discards
        try:
            size = allocated(file.stat())
        except OSError:
            return False
        with self._lock:
            if name in self._names:
                return True
            if self._bytes + size > CONTENTS_BYTES_MAX:
                return False
            self._names.add(name)
            self._bytes += size
            if self._contents is None:
                self._early.append(lambda: self._copy(name, file))
                return True
        return self._copy(name, file)

    def _copy(self, name: str, file: Path) -> bool:
        assert self._contents is not None
        try:
            with open_file(file) as source, self._contents.replace(name, sync=False) as copy:
                _copy_data(source, copy)
            copy.close()
        except OSError:
            return False
        return True

    def kept(self, name: str, to: Path) -> bool:
        """Copy a kept file to a new place; returns whether there is such a file."""
        if self._contents is None or name not in self._names:
            return False
        try:
            with self._contents.open_file(name) as source, open(to, "xb") as copy:
                _copy_data(source, copy)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close its files; they stay."""
        if self._file is not None and self._contents is not None:
            with suppress(OSError):  # A value that cannot be written is found out again.
                self._file.close()
            self._contents.close()
            self._file = self._contents = None
