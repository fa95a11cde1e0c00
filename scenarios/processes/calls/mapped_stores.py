"""Stores to mapped files: a program that maps a file of the folder changes it with no system call that could be held back.

So the mapping is made read-only behind the program's back, and the program traced (`traced`). A store then raises SIGSEGV. At
that instant, before the store, the process stands still: a crash point, ``mapped.store``. Then the page is made writable for the
one instruction, and the program goes on; it never learns of any of this.

    mmap(MAP_SHARED) of a file in the folder    trace; after the call, take away PROT_WRITE
    a store                                     SIGSEGV: pass the crash point, step over the store
    a call that stores there (read into it)     EFAULT: give PROT_WRITE back, have the call made again, take it away
    mmap, munmap, mremap, mprotect              look at the mappings anew
    fork                                        give it back for the moment: the child keeps its own, and is not traced
    many stores, and no call between them       after `STRETCH_MAX`, give it back until the next call: a memset is one change
    exec                                        there is no mapping any more

Other means say less. Write protection by userfaultfd(2) reports the first store to a page, and a page takes many. Single steps
through the whole program take hours. Snapshots at random instants meet again in no other run, and cannot be replayed.

Not seen, and named in the verdict line: stores of a process with threads (while one is stepped, the others' stores would pass),
and stores on machines other than x86-64. A note of the report says which were left out by `STORES_MAX` and `STRETCH_MAX`. Stores
of a forked child to what it inherited, and stores during recovery, are no crash points. A run that neither counts stores nor
crashes at one is not traced.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from crashmatrix.scenarios.errors import ScenarioError
from crashmatrix.scenarios.processes.calls.arguments import descriptor, int32, opened
from crashmatrix.scenarios.processes.calls.seccomp import Call
from crashmatrix.scenarios.processes.calls.traced import Stop, Traced, untraceable

__all__ = ["MAPPED_STORE", "STORES_MAX", "STRETCH_MAX", "MappedStores"]

MAPPED_STORE = "mapped.store"

STORES_MAX, STRETCH_MAX = 2_000, 50
"""How many stores of a process are stopped before, and how many without a system call between them; the rest pass."""

_MAP_ANONYMOUS, _PROT_READ, _PROT_WRITE = 0x20, 1, 2
_PKEY_MPROTECT = 329
"""mprotect(2) under another number, which nobody else uses."""
_MAPS: Final = {9, 11, 25, 10, _PKEY_MPROTECT}
_CLONE, _CLONE3, _CLONE_THREAD = 56, 435, 0x10000
_OPENING: Final = {_CLONE, 57, 58, _CLONE3, 25}
"""Calls that copy or move mappings, before which they are made writable: clone, fork, vfork, clone3, mremap."""
_READ_VECTORS: Final = {19, 295, 327, 47, 299}
_SEGV_ACCERR, _EFAULT = 2, 14
_PAGE = os.sysconf("SC_PAGESIZE")


class _Mapper:
    """One traced process, and the ranges of it that are read-only by our doing."""

    def __init__(self, pid: int) -> None:
        self.process = Traced(pid)
        self.ours: list[tuple[int, int]] = []
        self.stores = self.stretch = 0
        """All of them, and those since its last system call."""
        self.call = Stop("enters")
        """The system call it is in."""
        self.open = False
        """Whether the ranges are writable for the length of this call."""

    def covers(self, address: int) -> bool:
        return any(start <= address < end for start, end in self.ours)

    def protect(self, *, writable: bool) -> None:
        for start, end in self.ours:
            self.set(start, end, writable=writable)

    def set(self, start: int, end: int, *, writable: bool) -> None:
        protection = _PROT_READ | (_PROT_WRITE if writable else 0)
        self.process.call(_PKEY_MPROTECT, start, end - start, protection, -1)

    def look(self, is_inside: Callable[[str], bool]) -> None:
        """Find the shared mappings of files in the folder, and take away PROT_WRITE."""
        found = []
        for start, end, permissions, path in _mappings(self.process.pid):
            if permissions[3] != "s" or not is_inside(path):
                continue
            if "w" in permissions:
                self.set(start, end, writable=False)
                found.append((start, end))
            else:
                found += [(max(start, one), min(end, other)) for one, other in self.ours if one < end and start < other]
        self.ours = found

    def give_back(self, start: int, length: int) -> None:
        """Forget a range whose protection the program has set itself."""
        stop = start + length
        self.ours = [
            part
            for one, other in self.ours
            for part in ((one, min(other, start)), (max(one, stop), other))
            if part[0] < part[1]
        ]


class MappedStores:
    """Those of a process tree.

    Args:
        is_inside: whether a path is in the folder.
        passed: called before each store.
        lack: called with what cannot be seen, in words.
        note: called with the rule by which stores were left out.
    """

    def __init__(
        self,
        is_inside: Callable[[str], bool],
        passed: Callable[[], None],
        lack: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self._is_inside, self._passed, self._lack, self._note = is_inside, passed, lack, note
        self._mappers: dict[int, _Mapper] = {}
        self._wakeup, self._signalled = socket.socketpair()
        for end in (self._wakeup, self._signalled):
            end.setblocking(False)
        self._before: tuple[object, int] | None = None

    def fileno(self) -> int:
        """Readable when a traced process may have stopped."""
        return self._wakeup.fileno()

    def mapping(self, call: Call, *, holds: bool, let_go: Callable[[], None]) -> None:
        """Look at a shared mapping that is about to be made; ``let_go`` makes it."""
        path, writable = self._mapped(call)
        reason = untraceable() or ("" if holds else "they take Linux 5.19 or newer") or _threads(call.pid)
        if not path or call.pid in self._mappers:
            return let_go()
        if reason:
            if writable:
                self._lack(f"stores to the mapped file {Path(path).name}: {reason}")
            return let_go()
        try:
            mapper = _Mapper(call.pid)
        except OSError as error:
            self._lack(f"stores to the mapped file {Path(path).name}: ptrace is refused here ({error.strerror})")
            return let_go()
        self._listen()
        self._mappers[call.pid] = mapper
        mapper.process.interrupt()
        let_go()
        stop = mapper.process.wait()
        if stop is None or stop.why == "gone" or not mapper.process.learn_to_call():
            self._drop(mapper, release=True)
            return None
        mapper.look(self._is_inside)
        mapper.process.resume()
        return None

    def go_on(self) -> None:
        """Deal with every traced process that has stopped."""
        with suppress(BlockingIOError):
            self._wakeup.recv(1 << 12)
        for mapper in list(self._mappers.values()):
            while mapper.process.pid in self._mappers and (stop := mapper.process.wait(block=False)):
                with suppress(ProcessLookupError):  # It was killed meanwhile.
                    self._one(mapper, stop)

    def reap(self) -> None:
        """Wait for the end of traced processes that are being killed: their parents do not see it before we do."""
        for mapper in list(self._mappers.values()):
            while (stop := mapper.process.wait()) and stop.why != "gone":
                pass
            self._drop(mapper)

    def close(self) -> None:
        """Stop listening."""
        if self._before is not None:
            handler, descriptor_before = self._before
            signal.signal(signal.SIGCHLD, handler)  # type: ignore[arg-type]  # what signal.signal returned
            signal.set_wakeup_fd(descriptor_before)
        self._wakeup.close()
        self._signalled.close()

    @property
    def pids(self) -> list[int]:
        """The traced processes."""
        return list(self._mappers)

    def _mapped(self, call: Call) -> tuple[str, bool]:
        """The file of the folder that is mapped so that it can be stored to, now or later; and whether now."""
        number, flags = call.arguments[4], call.arguments[3]
        if flags & _MAP_ANONYMOUS or int32(number) < 0 or not self._is_inside(path := opened(call, number)):
            return "", False
        may_write = descriptor(call, number)["flags"] & os.O_ACCMODE == os.O_RDWR
        return path if may_write else "", bool(call.arguments[2] & _PROT_WRITE)

    def _one(self, mapper: _Mapper, stop: Stop) -> None:
        process = mapper.process
        match stop.why:
            case "gone":
                self._drop(mapper)
                return
            case "exec":
                self._drop(mapper, release=True)
                return
            case "enters":
                if not self._enters(mapper, stop):
                    return
            case "leaves":
                self._leaves(mapper, stop.value)
            case "signal" if stop.number == signal.SIGSEGV and self._is_store(mapper):
                if not self._store(mapper):
                    return
            case "signal" if stop.number != signal.SIGSTOP:  # SIGSTOP is ours, for a snapshot.
                process.resume(stop.number)
                return
        process.resume()

    def _enters(self, mapper: _Mapper, stop: Stop) -> bool:
        """Returns whether the process is still traced."""
        mapper.call, mapper.stretch = stop, 0
        if stop.number in (10, _PKEY_MPROTECT):
            mapper.give_back(stop.arguments[0], -(-stop.arguments[1] // _PAGE) * _PAGE)
        if stop.number not in _OPENING:
            return True
        if not mapper.open:  # Now, and then it makes this call again.
            mapper.process.put_off(stop.number)
            self._open(mapper)
        elif self._starts_thread(stop, mapper.process.pid):
            self._lack("stores to mapped files by a process with threads")
            self._drop(mapper, release=True)
            return False
        return True

    def _open(self, mapper: _Mapper) -> None:
        mapper.protect(writable=True)
        mapper.open = True

    def _starts_thread(self, stop: Stop, pid: int) -> bool:
        flags = stop.arguments[0] if stop.number == _CLONE else 0
        if stop.number == _CLONE3:
            with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
                memory.seek(stop.arguments[0])
                flags = int.from_bytes(memory.read(8), "little")
        return bool(flags & _CLONE_THREAD)

    def _leaves(self, mapper: _Mapper, value: int) -> None:
        call = mapper.call
        if mapper.open:
            mapper.open, mapper.ours = False, []  # All of it is writable now, so it is found again.
            mapper.look(self._is_inside)
        elif value == -_EFAULT and (call.number in _READ_VECTORS or any(map(mapper.covers, call.arguments))):
            self._open(mapper)
            mapper.process.again(call.number)
        elif call.number in _MAPS:
            mapper.look(self._is_inside)

    def _is_store(self, mapper: _Mapper) -> bool:
        code, address = mapper.process.fault()
        return code == _SEGV_ACCERR and mapper.covers(address)

    def _store(self, mapper: _Mapper) -> bool:
        """Pass the crash point and step over the store; returns whether the process is still traced."""
        mapper.stores += 1
        mapper.stretch += 1
        if mapper.stores > STORES_MAX:
            self._note(f"no crash was tried at stores of a process to mapped files after its first {STORES_MAX:,}")
            self._open(mapper)
            self._drop(mapper, release=True)
            return False
        if mapper.stretch > STRETCH_MAX:
            self._note(f"of stores to mapped files with no system call between them, the first {STRETCH_MAX} count")
            self._open(mapper)
            return True
        self._passed()
        pages: list[int] = []
        stop = Stop("signal", signal.SIGSEGV)
        while stop.why == "signal" and stop.number == signal.SIGSEGV and self._is_store(mapper):
            page = mapper.process.fault()[1] // _PAGE * _PAGE
            if page in pages:
                raise ScenarioError(f"process {mapper.process.pid} cannot store to a page that it may write")
            mapper.set(page, page + _PAGE, writable=True)
            pages.append(page)
            stop = mapper.process.step()
        for page in pages:
            mapper.set(page, page + _PAGE, writable=False)
        return True

    def _listen(self) -> None:
        if self._before is None:
            handler = signal.signal(signal.SIGCHLD, lambda *_: None)
            self._before = handler, signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)

    def _drop(self, mapper: _Mapper, *, release: bool = False) -> None:
        self._mappers.pop(mapper.process.pid, None)
        if release:
            with suppress(ProcessLookupError):
                mapper.process.release()


def _threads(pid: int) -> str:
    return "" if len(list(Path(f"/proc/{pid}/task").iterdir())) == 1 else "the process has threads"


def _mappings(pid: int) -> list[tuple[int, int, str, str]]:
    """Start, end, permissions and file of each mapping."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text(errors="surrogateescape").splitlines():
        fields = line.split(maxsplit=5)
        start, _, end = fields[0].partition("-")
        found.append((int(start, 16), int(end, 16), fields[1], fields[5] if len(fields) > 5 else ""))
    return found
