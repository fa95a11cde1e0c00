"""The faults of both sources: calls that fail (`CallFault`), and failpoints that raise (`PointFault`).

    write@3~EIO~once                        the third write fails, once
    store.put.before_sync@3~raise(EIO)~on   the failpoint raises OSError at its third hit and all later ones

Both have the same fields, print as they are parsed, and differ in their error.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import Final

from crashmatrix.scenarios.processes.calls.call_faults import CallFault

__all__ = ["Fault", "PointFault", "parse_fault"]

_POINT: Final = re.compile(r"(.+)@([1-9][0-9]{0,8})~raise\(([A-Z0-9]+)\)~(once|on)", re.DOTALL)


@dataclass(frozen=True)
class PointFault:
    """A failpoint, ``calls``, that raises OSError at its hit ``number``, and perhaps at all later ones."""

    calls: str
    number: int
    errno: str
    times: str = "once"

    def __str__(self) -> str:
        return f"{self.calls}@{self.number}~{self.error}~{self.times}"

    @property
    def error(self) -> str:
        """The action of the failpoint."""
        return f"raise({self.errno})"

    @property
    def kind(self) -> str:
        """Its row in the table of faults and endings, whichever failpoint it is."""
        return f"failpoint {self.errno} {self.times}"

    @property
    def short(self) -> bool:
        """A failpoint does nothing in part."""
        return False

    @property
    def actions(self) -> str:
        """The fault in the action language of failpoints."""
        before = f"{self.number - 1}*off->" if self.number > 1 else ""
        return f"{before}{'1*' if self.times == 'once' else ''}{self.error}"


Fault = CallFault | PointFault


def parse_fault(text: str) -> Fault:
    """Read what ``str`` of a fault wrote. Raises UsageError."""
    found = _POINT.fullmatch(text)
    if found and found[3] in errno.errorcode.values():
        return PointFault(found[1], int(found[2]), found[3], found[4])
    return CallFault.parse(text)
