"""A recording with a fault, read: the first failure, the requests after it, and the cuts at which power may fail."""

from __future__ import annotations

from collections.abc import Iterator

from crashmatrix.faults.disk import CrashState, Failure, Flush, Note, Trace, Write
from crashmatrix.scenarios.io_error.disk.plan import cuts_later
from crashmatrix.scenarios.io_error.disk.workload import failed_call
from crashmatrix.scenarios.io_error.faults import FLUSH, WRITE, RequestFault
from crashmatrix.scenarios.recorded.recording import is_journal_line
from crashmatrix.scenarios.target.notes import AckNote, FailNote, parse

__all__ = ["cuts_after", "ends_at", "first_failure", "requests_made", "requests_since", "steps_of", "what_failed_at"]


def requests_since(trace: Trace, fault: RequestFault, at: int, end: int) -> int:
    """Return how many requests of a fault's class there are from the failed one on, which ends before position ``at``."""
    kind, request = (Write, "write") if fault.calls == WRITE else (Flush, "flush")
    later = trace.operations[at:end]
    return 1 + sum(isinstance(done, kind) or (isinstance(done, Failure) and done.request == request) for done in later)


def requests_made(trace: Trace, calls: str) -> int:
    """Return how many requests of a class the workload made."""
    kind = {WRITE: Write, FLUSH: Flush}.get(calls, ())
    return sum(isinstance(done, kind) for done in trace.operations[trace.start : trace.finish])


def first_failure(trace: Trace, fault: RequestFault, acknowledged: int) -> tuple[int, int]:
    """Return the position after the first failure, and how many there were. A full disk shows by what the workload does."""
    during = range(trace.start, trace.finish)
    if fault.planned:
        failed = [at for at in during if isinstance(trace.operations[at], Failure)]
    elif fault.call:
        failed = [at for at in during if failed_call(trace.operations[at])]
    else:
        lines = [at for at in during if isinstance(trace.operations[at], Note)]
        failed = [at for at in lines if isinstance(_parsed(trace, at), FailNote)]
        stored = sum(isinstance(_parsed(trace, at), AckNote) for at in lines)
        if not failed and (trace.exit_status or stored < acknowledged):
            failed = [trace.finish - 1]
    return (failed[0] + 1, len(failed)) if failed else (0, 0)


def _parsed(trace: Trace, at: int) -> object:
    done = trace.operations[at]
    return parse(done.text) if isinstance(done, Note) else None


def cuts_after(trace: Trace, fault: RequestFault, at: int) -> list[int]:
    """Return the cuts of ending `cut-later`, after a first failure."""
    acks = [place for place in range(at, trace.finish) if isinstance(_parsed(trace, place), AckNote)]
    return cuts_later(acks, trace.finish, several=fault.call is not None)


def ends_at(trace: Trace, cut: int) -> Iterator[CrashState]:
    """The states at a cut with nothing of what is pending, and with all of it."""
    pending = len(trace.pending(cut))
    yield CrashState(cut, 0, (), pending)
    if pending:
        yield CrashState.whole(trace, cut)


def what_failed_at(trace: Trace, at: int) -> str:
    """Describe the failure that ends before a position."""
    done = trace.operations[at - 1]
    if not isinstance(done, Failure):
        return failed_call(done) or "room"
    return "flush" if done.request == "flush" else f"{done.request} of {done.length:,} bytes at byte {done.offset:,}"


def steps_of(trace: Trace) -> Iterator[str]:
    """Journal lines and requests in their order, as `messages.Account` has them."""
    for done in trace.operations[trace.start : trace.finish]:
        match done:
            case Note(text) if is_journal_line(text):
                yield f"line {text.decode(errors='replace')}"
            case Write(offset, data):
                yield f"call disk write of {len(data):,} bytes at byte {offset:,}"
            case Failure(request, offset, length, error):
                where = f" of {length:,} bytes at byte {offset:,}" if length else ""
                yield f"call disk {request}{where} -> -{error}"
