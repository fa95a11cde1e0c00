"""System calls that fail: the N-th call of a class is answered with an error in the kernel's place, or done in part.

    write@3~EIO~once                 the third write fails; the next one is done
    fsync@1~EIO~twice                the first sync fails, and the next one
    rename@2~EROFS~on                from the second rename on, every call that changes the folder fails
    write@4~EIO~and-next             the fourth write fails, and the next call of any class that changes the folder
    write@5~ENOSPC~until-freed       the disk is full, until the program removes, truncates or replaces a file
    write@5~short~once               half of the write is done, and the call returns its length
    write@5~short+ENOSPC~once        half of it is done; the next write fails

A fault prints as it is parsed. Calls are counted by class, over all threads and processes, from 1. Which calls fail from then
on depends on the error: with EIO the calls of its class, with EROFS every call, with ENOSPC and EDQUOT those that take room.

The kernel does nothing for a call that is answered here. `page_cache` keeps account of what it would have made of a failed sync.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Final

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.processes.calls.arguments import descriptor, int32, open_flags, opened, touched
from crashmatrix.scenarios.processes.calls.long_writes import WRITES, length_of, short_write
from crashmatrix.scenarios.processes.calls.page_cache import PageCache, beyond_account
from crashmatrix.scenarios.processes.calls.seccomp import Call
from crashmatrix.scenarios.processes.calls.table import ASIDE, KINDS, Kind, column

__all__ = ["CLASSES", "ERRORS", "SHORT", "TIMES", "CallFault", "FailingCalls", "Made", "answers_alike"]

CLASSES: Final = {
    "open": ("creat", "open", "openat", "openat2", "open_by_handle_at", "mknod", "mknodat"),
    "write": (*WRITES, "sendfile", "copy_file_range", "splice", "io_submit"),
    "fsync": ("fsync", "fdatasync", "sync_file_range", "syncfs", "msync"),
    "rename": ("rename", "renameat", "renameat2"),
    "link": ("link", "linkat", "symlink", "symlinkat"),
    "unlink": ("unlink", "unlinkat"),
    "truncate": ("ftruncate", "truncate"),
    "allocate": ("fallocate",),
    "mkdir": ("mkdir", "mkdirat"),
    "rmdir": ("rmdir",),
    "read": ("read", "pread64", "readv", "preadv", "preadv2"),
}
"""The classes, with their calls. unlinkat(2) of a folder is an rmdir; an open is one that may create or truncate."""

ERRORS: Final = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR")
TIMES: Final = ("once", "twice", "and-next", "on", "until-freed")
SHORT: Final = "short"
"""The write is done in part, as on a disk that fills up while it is written to."""

_CLASS_OF: Final = {name: kind for kind, names in CLASSES.items() for name in names}
_TAKE_ROOM: Final = ("open", "write", "link", "allocate", "mkdir")
_GIVE_ROOM: Final = ("unlink", "rename", "truncate", "rmdir")
_NO_ROOM: Final = ("ENOSPC", "EDQUOT")
_SYNTAX: Final = re.compile(rf"({'|'.join(CLASSES)})@([1-9][0-9]{{0,8}})~([A-Za-z+]+)~({'|'.join(TIMES)})")
_AT_REMOVEDIR, _PROT_WRITE = 0x200, 2


@dataclass(frozen=True)
class CallFault:
    """One fault: the class of calls, which of them fails first, how, and how often."""

    calls: str
    number: int
    error: str
    times: str = "once"

    def __str__(self) -> str:
        return f"{self.calls}@{self.number}~{self.error}~{self.times}"

    @classmethod
    def parse(cls, text: str) -> CallFault:
        """Read what ``str`` wrote. Raises UsageError."""
        found = _SYNTAX.fullmatch(text)
        if found and _is_error(found[3]):
            return cls(found[1], int(found[2]), found[3], found[4])
        raise UsageError(
            f"{text!r} is not a fault; write CLASS@NUMBER~ERROR~TIMES: a class of {', '.join(CLASSES)}; an error of "
            f"{', '.join(ERRORS)}, {SHORT}, {SHORT}+ERROR; {', '.join(TIMES)}"
        )

    @property
    def kind(self) -> str:
        """Its row in the table of faults and endings, whichever call it is."""
        return f"{self.calls} {self.error} {self.times}"

    @property
    def errno(self) -> str:
        """The name of the error that calls fail with; empty if a write is short and nothing else."""
        return self.error.removeprefix(SHORT).removeprefix("+")

    @property
    def leaves_pages_clean(self) -> bool:
        """Whether the kernel, too, would have failed to write pages."""
        return self.calls == "fsync" and self.errno in ("EIO", "ENOSPC", "EDQUOT")

    @property
    def short(self) -> bool:
        """Whether the first call is done in part."""
        return self.error.startswith(SHORT)


def _is_error(text: str) -> bool:
    part, plus, error = text.partition("+")
    return text in (*ERRORS, SHORT) or (part == SHORT and bool(plus) and error in ERRORS)


@dataclass(frozen=True)
class Made:
    """A call that was made: its class (empty: none that can fail here), which of the class, what it is about.

    Attributes:
        creates: whether it makes a new file.
        length: how many bytes it writes; 0 if it cannot be done in part.
        answer: what it was answered in the kernel's place; None if the kernel did it.
        truncates: whether it is an open that empties a file.
        beyond: what it is, in words, if `page_cache` has no account of what its failure leaves. Known if nothing is to fail.
    """

    calls: str
    number: int
    name: str
    files: tuple[str, ...]
    creates: bool = False
    length: int = 0
    answer: int | None = None
    truncates: bool = False
    beyond: str = ""


@dataclass
class FailingCalls:
    """Answers the calls of one process tree. ``made`` has all of them, in order."""

    faults: Sequence[CallFault] = ()
    cache: PageCache | None = None
    """Keeps account of pages, if wanted."""
    reads: bool = False
    """Whether reads of files in the folder are seen, too; else they are never waited for."""
    made: list[Made] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)
    _mapped: set[int] = field(default_factory=set)
    _armed: list[_Armed] = field(init=False)

    def __post_init__(self) -> None:
        self._armed = [_Armed(fault) for fault in self.faults]

    @property
    def failed(self) -> list[Made]:
        """The calls that failed, or were done in part."""
        return [made for made in self.made if made.answer is not None]

    @property
    def fired(self) -> list[CallFault]:
        """The faults that were met."""
        return [armed.fault for armed in self._armed if armed.fired]

    def answer(self, call: Call, name: str, files: Sequence[str]) -> int | None:
        """Return what to answer a call in the folder with, an error number negative; None to have the kernel do it."""
        kind = _class_of(call, name)
        self._counts[kind] += 1
        creates = kind in ("open", "mkdir", "link") and bool(files) and not os.path.lexists(files[-1])
        made = Made(kind, self._counts[kind], name, tuple(files), creates)
        answer = None
        if kind:
            for armed in self._armed:
                if answer is None:
                    answer = armed.answer(made, lambda: short_write(call, name))
        if self.cache:
            with suppress(OSError, struct.error):  # It was killed meanwhile.
                self.cache.note(call, name, files, answer)
        length = length_of(call, name) if kind == "write" else 0
        beyond = "" if self.faults else beyond_account(call, name, self._mapped)
        truncates = False
        with suppress(OSError, struct.error):
            truncates = kind == "open" and bool((open_flags(call, name) or 0) & os.O_TRUNC)
        self.made.append(replace(made, length=length, answer=answer, truncates=truncates, beyond=beyond))
        return answer

    def mapping(self, call: Call, is_inside: Callable[[str], bool]) -> None:
        """Take note of a shared mapping that is about to be made, if it is of a file in the folder. Raises OSError."""
        about = call.arguments[4]
        if not is_inside(opened(call, about)) or descriptor(call, about)["flags"] & os.O_ACCMODE != os.O_RDWR:
            return
        if call.arguments[2] & _PROT_WRITE:
            self._mapped.add(os.stat(f"/proc/{call.pid}/fd/{int32(about)}").st_ino)  # noqa: PTH116  # follows to what is open
        if self.cache:
            self.cache.mapping(call)

    def changes_nothing(self, call: Call, is_inside: Callable[[str], bool]) -> bool:
        """Take note of a call that only the account of pages wants to know; returns whether it was one. Raises as `touched`."""
        name, kind = _aside().get(call.number, ("", None))
        if self.cache is None or kind is None or (kind.bits and not call.arguments[kind.bits[0]] & kind.bits[1]):
            return False
        files = touched(call, name, kind)
        if not files or any(map(is_inside, files)):
            self.cache.aside(call, name, files)
        creates = KINDS[name].bits if name in KINDS else None
        return creates is None or not call.arguments[creates[0]] & creates[1]


def answers_alike(fault: CallFault, made: Sequence[Made]) -> bool:
    """Whether a fault would have answered calls as they were answered: its own run would be the same.

    So a program that stops at the first error is run once for faults that differ in later calls only.
    """
    armed = _Armed(fault)
    return all(armed.answer(one, partial(_answer_of, one)) == one.answer for one in made)


def _answer_of(made: Made) -> int | None:
    return made.answer


class _Armed:
    """A fault, and how far it has come."""

    def __init__(self, fault: CallFault) -> None:
        self.fault, self.fired, self._over = fault, 0, False

    def answer(self, made: Made, write_half: Callable[[], int | None]) -> int | None:
        fault = self.fault
        if self._over or not (self._is_next(made) if self.fired else self._is_first(made)):
            return None
        if self.fired and fault.times == "until-freed" and made.calls in _GIVE_ROOM:
            self._over = True
            return None
        if fault.short and not self.fired:
            half = write_half()
            self.fired = int(half is not None)
            self._over = self.fired > 0 and not fault.errno
            return half
        self.fired += 1
        self._over = self.fired - fault.short >= {"once": 1, "twice": 2, "and-next": 2}.get(fault.times, 10**9)
        return -getattr(errno, fault.errno)  # type: ignore[no-any-return]  # a number

    def _is_first(self, made: Made) -> bool:
        fault = self.fault
        if made.calls == "open" == fault.calls and fault.errno in _NO_ROOM:
            return made.creates and made.number >= fault.number  # Only a new file takes room.
        return made.calls == fault.calls and made.number == fault.number

    def _is_next(self, made: Made) -> bool:
        """Whether a call after the first one is concerned, too."""
        fault = self.fault
        if fault.times == "and-next" and self.fired > fault.short:
            return made.calls != "read"
        if fault.times in ("once", "twice", "and-next") or fault.errno not in (*_NO_ROOM, "EROFS"):
            return made.calls == fault.calls
        if fault.errno == "EROFS":
            return made.calls != "read"
        if fault.times == "until-freed" and made.calls in _GIVE_ROOM:
            return True
        return made.calls in _TAKE_ROOM and (made.creates or made.calls in ("write", "allocate"))


def _class_of(call: Call, name: str) -> str:
    if name == "unlinkat" and call.arguments[2] & _AT_REMOVEDIR:
        return "rmdir"
    if name == "openat2" and not (open_flags(call, name) or 0) & (os.O_CREAT | os.O_TRUNC):
        return ""
    return _CLASS_OF.get(name, "")


@cache
def _aside() -> dict[int, tuple[str, Kind]]:
    return {kind.numbers[column()]: (name, kind) for name, kind in ASIDE.items() if kind.numbers[column()]}
