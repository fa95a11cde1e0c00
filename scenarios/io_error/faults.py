"""The faults of all sources: calls (`CallFault`), failpoints that raise (`PointFault`), requests of a disk (`RequestFault`).

    write@3~EIO~once                        the third write fails, once
    store.put.before_sync@3~raise(EIO)~on   the failpoint raises OSError at its third hit and all later ones
    before_rename@3~return(EIO)~once        a failpoint of a program in another language returns, or panics
    ext4:disk-write@3~EIO~twice             the disk under an ext4 fails its third write, and the next one
    xfs:disk-flush@1~EIO~on                 it fails its first flush, and all later ones
    ext4:disk-read@2~EIO~once               it fails its second read
    ext4:disk-full@64~ENOSPC~once           another program's file leaves 64 KiB, until the first attempt has failed
    ext4:disk-full@64~ENOSPC~on             it leaves 64 KiB to the end
    ext4:disk-small@64~ENOSPC~on            the disk has 64 KiB of room, and no more when the system is opened on it
    ext4:on-disk.fsync@2~EIO~once           a call fails, while the workload runs on a recorded ext4

All have the same fields, print as they are parsed, and differ in their error.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import Final

from crashmatrix.faults.disk import DiskFault, Filesystem, InvalidOption
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.processes.calls.call_faults import CallFault

__all__ = [
    "FLUSH",
    "FULL",
    "READ",
    "ROOMS",
    "SMALL",
    "WRITE",
    "ActionFault",
    "Fault",
    "PointFault",
    "RequestFault",
    "parse_fault",
]

WRITE, FLUSH, READ, FULL, SMALL = "disk-write", "disk-flush", "disk-read", "disk-full", "disk-small"
"""The classes of requests of a disk. The last two are no requests: a neighbour, or the data itself, fills the disk."""

ROOMS: Final = (FULL, SMALL)
"""The classes whose number is the room on the disk, in KiB."""

_ON_DISK: Final = "on-disk."
"""Marks the class of calls of a call that fails on a recorded disk."""

_REQUEST: Final = re.compile(
    rf"(.+):({WRITE}|{FLUSH}|{READ}|{FULL}|{SMALL}|on-disk\.[a-z]+)@([1-9][0-9]{{0,8}}|0)~([A-Za-z+]+)~([a-z-]+)",
    re.DOTALL,
)
ACTIONS: Final = r"(?:return|panic)(?:\(.*\))?"
"""The actions of fail-rs and gofail that are errors."""

_ACTION: Final = re.compile(rf"(.+)@([1-9][0-9]{{0,8}})~({ACTIONS})~(once|on)", re.DOTALL)
_POINT: Final = re.compile(r"(.+)@([1-9][0-9]{0,8})~raise\(([A-Z0-9]+)\)~(once|on)", re.DOTALL)


class _OfFailpoint:
    """A fault of a failpoint. It prints as it is parsed, and does nothing in part."""

    calls: str
    number: int
    times: str
    short = False

    @property
    def error(self) -> str:
        """The action of the failpoint."""
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self.calls}@{self.number}~{self.error}~{self.times}"


@dataclass(frozen=True)
class PointFault(_OfFailpoint):
    """A failpoint, ``calls``, that raises OSError at its hit ``number``, and perhaps at all later ones."""

    calls: str
    number: int
    errno: str
    times: str = "once"

    @property
    def error(self) -> str:
        """The action of the failpoint."""
        return f"raise({self.errno})"

    @property
    def kind(self) -> str:
        """Its row in the table of faults and endings, whichever failpoint it is."""
        return f"failpoint {self.errno} {self.times}"

    @property
    def actions(self) -> str:
        """The fault in the action language of failpoints."""
        before = f"{self.number - 1}*off->" if self.number > 1 else ""
        return f"{before}{'1*' if self.times == 'once' else ''}{self.error}"


@dataclass(frozen=True)
class ActionFault(_OfFailpoint):
    """A failpoint of a program in another language, ``calls``, that takes an action of fail-rs or gofail at a hit."""

    calls: str
    number: int
    action: str
    times: str = "once"

    @property
    def error(self) -> str:
        """The action."""
        return self.action

    @property
    def errno(self) -> str:
        """Empty: the program decides what it makes of the action."""
        return ""

    @property
    def kind(self) -> str:
        """Its row in the table of faults and endings, whichever failpoint it is."""
        return f"failpoint {self.action} {self.times}"


@dataclass(frozen=True)
class RequestFault:
    """Something goes wrong on a recorded disk with this filesystem.

    ``calls`` says what: a request of the disk (`WRITE`, `FLUSH`, `READ`), its room (`ROOMS`, where ``number`` is in KiB), or a
    call of the workload (``on-disk.`` and its class). ``number`` counts such requests or calls from 1.
    """

    filesystem: str
    calls: str
    number: int
    error: str
    times: str = "once"

    def __str__(self) -> str:
        return f"{self.filesystem}:{self.calls}@{self.number}~{self.error}~{self.times}"

    @property
    def kind(self) -> str:
        """Its row in the table of faults and endings, whichever request it is."""
        return f"{self.filesystem} {self.calls} {self.error} {self.times}"

    @property
    def errno(self) -> str:
        """The name of the error."""
        return self.call.errno if self.call else self.error

    @property
    def short(self) -> bool:
        """Whether a call is done in part."""
        return bool(self.call and self.call.short)

    @property
    def call(self) -> CallFault | None:
        """The call of the workload that fails; None if it is the disk that fails."""
        if not self.calls.startswith(_ON_DISK):
            return None
        return CallFault(self.calls.removeprefix(_ON_DISK), self.number, self.error, self.times)

    @classmethod
    def of_call(cls, filesystem: str, fault: CallFault) -> RequestFault:
        """Return the fault of a call that is made on a recorded disk."""
        return cls(filesystem, _ON_DISK + fault.calls, fault.number, fault.error, fault.times)

    @property
    def planned(self) -> tuple[DiskFault, ...]:
        """The requests that the recorded disk fails."""
        if self.calls not in (WRITE, FLUSH, READ):
            return ()
        request, always = self.calls.removeprefix("disk-"), self.times == "on"
        numbers = range(self.number, self.number + (2 if self.times == "twice" else 1))
        return tuple(DiskFault(request=request, nth=nth, error=self.error, always=always) for nth in numbers)


Fault = CallFault | PointFault | ActionFault | RequestFault


def _of_request(found: re.Match[str]) -> RequestFault | None:
    fault = RequestFault(found[1], found[2], int(found[3]), found[4], found[5])
    try:
        filesystem = Filesystem.parse(found[1])
        if fault.call:
            return fault if CallFault.parse(str(fault.call)) else None
        if not filesystem.on_disk or not hasattr(errno, fault.errno):
            return None
    except (InvalidOption, UsageError):
        return None
    known = {FULL: ("once", "on"), SMALL: ("on",)}.get(fault.calls, ("once", "twice", "on"))
    return fault if fault.times in known and (fault.number or fault.calls in ROOMS) else None


def parse_fault(text: str) -> Fault:
    """Read what ``str`` of a fault wrote. Raises UsageError."""
    request = _REQUEST.fullmatch(text)
    if request and (fault := _of_request(request)):
        return fault
    if action := _ACTION.fullmatch(text):
        return ActionFault(action[1], int(action[2]), action[3], action[4])
    found = _POINT.fullmatch(text)
    if found and found[3] in errno.errorcode.values():
        return PointFault(found[1], int(found[2]), found[3], found[4])
    return CallFault.parse(text)
