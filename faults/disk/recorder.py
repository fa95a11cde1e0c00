"""The recorder: the process behind a mount, which logs everything that reaches the mount in one total order.

Common to all recorders; `block.recorder` serves a disk, `posix.recorder` a tree of files. Two files appear on the mount
beside what is recorded:

    notes    write-only. Each line written becomes a note in the log; writers need no lock and wait for no reply
    control  a write is one command, done when write(2) returns: `mark NAME`; `hold WORD`: the next note with this first word,
             up to a space or a colon, is not answered before `go`, so that its writer waits; or a command of this kind of
             recorder. An unknown command fails with EINVAL. A read returns the recorder's state as JSON

Invariants:
- One thread answers all requests, which gives the total order: an entry is in the log before its request is answered.
- No client hangs for ever: this process ends when its parent ends (parent-death signal), or when one request takes longer
  than the stall limit (`fuse.serve`). Clients then get an error.
- The mount exists before the first request, and ends with this process: no other process holds the device open, so every
  later request fails instead of reaching a plain directory.
- This process is in a mount namespace of its own, which contains no mount that it serves. When the last process of a namespace
  dies, it unmounts everything in the namespace before the kernel closes its files: it would wait for its own answer for ever.
"""

import errno
import gc
import json
import os
import signal
import stat
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from crashmatrix.faults.disk.inode import Inode
from crashmatrix.faults.disk.linux import fuse
from crashmatrix.faults.disk.linux.containment import start_forked
from crashmatrix.faults.disk.linux.fuse import Opcode, Request
from crashmatrix.faults.disk.linux.kernel import keep_processors_awake, mount, opened
from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
from crashmatrix.faults.disk.trace.log import MARK, NOTE, Log
from crashmatrix.faults.disk.trace.operations import ROOT

__all__ = ["CONTROL", "CONTROL_NAME", "GREETING", "MOUNT", "NOTES", "NOTES_NAME", "RECORDED", "Recorder", "serve"]

MOUNT, RECORDED, NOTES, CONTROL = 1, ROOT, 3, 4
"""Inodes: the mount's own directory, whose number FUSE fixes; what is recorded; the two files beside it."""

NOTES_NAME, CONTROL_NAME = "notes", "control"
GREETING = "crashmatrix recording disk"
"""The `role` in the control file's JSON, by which a client knows that the mount is there and is ours."""

_STALL_SECONDS = 30.0


class Recorder(ABC):
    """The answers to the kernel's requests, one method each. `log` is an open, empty file; `name` names what is recorded."""

    def __init__(self, log: int, name: str, recorded: Inode) -> None:
        self._log = Log(log)
        self._inodes = {
            MOUNT: Inode(MOUNT, stat.S_IFDIR | 0o755),
            RECORDED: recorded,
            # Any user may write notes: a workload need not run as root to make promises.
            NOTES: Inode(NOTES, stat.S_IFREG | 0o622, links=1),
            CONTROL: Inode(CONTROL, stat.S_IFREG | 0o600, links=1),
        }
        self._inodes[MOUNT].names = {
            name.encode(): RECORDED,
            NOTES_NAME.encode(): NOTES,
            CONTROL_NAME.encode(): CONTROL,
        }
        self._handles = 0
        self._unfinished: dict[int, bytes] = {}
        self._listings: dict[int, list[tuple[bytes, int, int]]] = {}
        self._notes = 0
        self._hold = b""
        self._held: tuple[int, bytes] | None = None
        """A request that waits for `go`: its number, and the answer."""
        self.device = self.holding = -1
        """/dev/fuse; and a descriptor that gets a byte when a note is held."""

    @property
    def handlers(self) -> dict[int, Callable[[Request], fuse.Answer]]:
        """The method that answers each kind of request; a request without a method is refused."""
        methods = {code: getattr(self, f"_{code.name.lower()}", None) for code in Opcode}
        return {code: method for code, method in methods.items() if method}

    @abstractmethod
    def _content(self, inode: int, offset: int, length: int, /) -> fuse.Answer:
        """Return up to `length` bytes of the recorded content."""

    @abstractmethod
    def _put(self, inode: int, offset: int, data: memoryview, /) -> None:
        """Log, then do, one write to what is recorded."""

    def _init(self, request: Request) -> bytes:
        return fuse.initial_reply(request)

    def _statfs(self, _: Request) -> bytes:
        return fuse.statfs_reply()

    def _lookup(self, request: Request) -> bytes:
        return fuse.entry_reply(self._named(request.node, request.names()[0]).attributes())

    def _named(self, folder: int, name: bytes) -> Inode:
        number = self._inodes[folder].names.get(name)
        if number is None:
            raise OSError(errno.ENOENT, "no such name")
        return self._inodes[number]

    def _getattr(self, request: Request) -> bytes:
        return fuse.attributes_reply(self._inodes[request.node].attributes())

    def _opendir(self, request: Request) -> bytes:
        folder = self._inodes[request.node]
        # A copy: a directory that changes while it is read neither skips nor repeats a name.
        listed = [(name, number, self._inodes[number].mode) for name, number in folder.names.items()]
        answer = self._opened(0)
        self._listings[self._handles] = [(b".", folder.number, folder.mode), (b"..", 0, folder.mode), *listed]
        return answer

    def _readdir(self, request: Request) -> bytes:
        handle, offset, length = request.unpack("QQI")
        return fuse.directory_entries(self._listings[handle], offset, length)

    def _releasedir(self, request: Request) -> bytes:
        (handle,) = request.unpack("Q")
        self._listings.pop(handle, None)
        return b""

    def _open(self, request: Request) -> bytes:
        # Direct: each write is one request whatever its length and place, and a read ignores the size 0.
        return self._opened(fuse.DIRECT_IO if request.node in (NOTES, CONTROL) else fuse.KEEP_CACHE)

    def _opened(self, flags: int) -> bytes:
        self._handles += 1
        return fuse.open_reply(self._handles, flags)

    def _read(self, request: Request) -> fuse.Answer:
        _, offset, length = request.unpack("QQI")
        if request.node == CONTROL:
            state = {"role": GREETING, "pid": os.getpid(), "notes": self._notes, **self._state()}
            return (json.dumps(state).encode() + b"\n")[offset : offset + length]
        return b"" if request.node == NOTES else self._content(request.node, offset, length)

    def _write(self, request: Request) -> fuse.Answer:
        handle, offset, data = request.written()
        if request.node == NOTES:
            lines = self._take_notes(handle, bytes(data))
            if self._hold and any(_first_word(line) == self._hold for line in lines):
                self._hold, self._held = b"", (request.unique, fuse.write_reply(len(data)))
                os.write(self.holding, b"h")
                return fuse.LATER
        elif request.node == CONTROL:
            self._command(bytes(data).decode(errors="replace").split())
        else:
            self._put(request.node, offset, data)
        return fuse.write_reply(len(data))

    def _flush(self, request: Request) -> bytes:
        (handle,) = request.unpack("Q")
        if rest := self._unfinished.pop(handle, b""):  # An unfinished line counts as one when the file is closed.
            self._note(rest)
        return b""

    def _nothing(self, _: Request) -> bytes:
        return b""

    _destroy = _release = _nothing

    def _interrupt(self, request: Request) -> bytes:
        """A killed process that waits for a held answer would wait for ever."""
        if self._held and request.unpack("Q")[0] == self._held[0]:
            self._go()
        return b""

    def _go(self) -> None:
        held, self._hold, self._held = self._held, b"", None
        if held:
            fuse.reply(self.device, *held)

    def _take_notes(self, handle: int, data: bytes) -> list[bytes]:
        """Note the lines that are whole by now, and return them."""
        *lines, rest = (self._unfinished.pop(handle, b"") + data).split(b"\n")
        for line in lines:
            self._note(line)
        if rest:
            self._unfinished[handle] = rest
        return lines

    def _note(self, line: bytes) -> None:
        self._log.append(NOTE, data=line)
        self._notes += 1

    def _begin_again(self) -> None:
        """Forget what was logged: another recording begins, from the same content."""
        self._log.clear()
        self._notes = 0
        self._unfinished.clear()

    def _command(self, words: list[str]) -> None:
        match words:
            case ["mark", name]:
                self._log.append(MARK, data=name.encode())
            case ["hold", word]:
                self._hold = word.encode()
            case ["go"]:
                self._go()
            case _:
                raise OSError(errno.EINVAL, "unknown command")

    @abstractmethod
    def _state(self) -> dict[str, object]:
        """More for the control file."""


def serve(recorder: Recorder, mount_point: Path, *, cpu: int, stall_seconds: float = _STALL_SECONDS) -> int:
    """Mount the recorder there, served by a forked process on that CPU, which dies with the calling thread; return its id.

    Raises SystemCallFailed (for example where there is no FUSE) and MountRefused.
    """
    with opened("/dev/fuse", "see crashmatrix.faults.disk.requirements()") as device:
        options = f"fd={device},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()}"
        mount("crashmatrix", mount_point, "fuse", options=f"{options},default_permissions,allow_other")
        recorder.device = device
        return start_forked(lambda: _serve(recorder, device, cpu, stall_seconds))


def _first_word(line: bytes) -> bytes:
    return line.partition(b" ")[0].partition(b":")[0]


def _serve(recorder: Recorder, device: int, cpu: int, stall_seconds: float) -> None:
    try:
        enter_private_namespace()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # It ends with the recording, not before.
        os.sched_setaffinity(0, {cpu})  # A request that wakes another processor takes four times as long.
        keep_processors_awake()  # Each request goes from processor to processor.
        gc.disable()
        fuse.serve(device, recorder.handlers, stall_seconds)
    except BaseException:
        traceback.print_exc()
        raise
