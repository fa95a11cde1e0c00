"""A log-structured store, done right and done wrong. Keys live in one file; each put appends one line to it.

    crashmatrix run docs/examples/log_store.py:LogStore                                         # safe, under kill and power
    crashmatrix run docs/examples/log_store.py:LogStore --experiments io-error                  # safe
    crashmatrix run docs/examples/log_store.py:TornTailStore --experiments kill                 # cannot-open
    crashmatrix run docs/examples/log_store.py:TailKeptStore --experiments kill                 # loses
    crashmatrix run docs/examples/log_store.py:UnsyncedStore --experiments kill                 # safe
    crashmatrix run docs/examples/log_store.py:UnsyncedStore --experiments power --fs posix     # loses

Each put is a line: a checksum, a space, the JSON of key and value, a newline. A record counts if its line is whole.
"""

import json
import os
import zlib

from crashmatrix import SystemUnderTest
from crashmatrix.faults import declare

# Failpoints name the instants at which a crash is interesting. Without a test, each costs an empty method call.
MID_RECORD = declare("log.append.mid_record", "the first half of the record is written, the second is not")
BEFORE_SYNC = declare("log.append.before_sync", "in the page cache: a kill keeps the record, a power cut may not")
AFTER_SYNC = declare("log.append.after_sync", "durable, not yet acknowledged: recovery returns it")
BEFORE_CUT = declare("log.recover.before_cut", "a torn tail is found and not yet cut off")


class Log:
    """The log file: append a record, read the whole records."""

    def __init__(self, root, *, sync=True):
        self.path, self.sync = root / "log", sync

    def create(self):
        with open(self.path, "wb") as file:
            os.fsync(file.fileno())
        folder = os.open(self.path.parent, os.O_RDONLY)
        os.fsync(folder)  # Durable: the file's name. Before, a power cut could take the whole log.
        os.close(folder)

    def append(self, item):
        payload = json.dumps(item).encode()
        record = b"%08x %s\n" % (zlib.crc32(payload), payload)
        with open(self.path, "ab") as file:
            file.write(record[:12])
            file.flush()  # All of it, or an error. A single write(2) may do a part and say so.
            MID_RECORD.hit()
            file.write(record[12:])
            file.flush()
            BEFORE_SYNC.hit()
            if self.sync:
                os.fdatasync(file.fileno())  # Durable: the record and the file's length.
            AFTER_SYNC.hit()

    def read(self):
        """Return the whole records, and how many bytes they take: what follows was torn by a crash."""
        items, length = [], 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            checksum, _, payload = line.rstrip(b"\n").partition(b" ")
            if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(payload):
                break
            items.append(json.loads(payload))
            length += len(line)
        return items, length

    def cut(self, length):
        with open(self.path, "r+b") as file:
            file.truncate(length)
            os.fsync(file.fileno())  # Durable: the cut, and the records before it, which may be in the page cache only.


class LogStore(SystemUnderTest):
    """Done right: checksums, a sync before the acknowledgement, a torn tail cut off before the next append."""

    contract = "latest"  # each key has its last acknowledged value, or a later one that was attempted
    sync = True

    def prepare(self, root):
        Log(root).create()

    def workload(self, root, journal):
        log = Log(root, sync=self.sync)
        for number in range(12):
            item = [f"key{number % 3}", number]
            with journal.attempt(item):  # leaving the block acknowledges
                log.append(item)

    def resume(self, root, journal):
        """Life goes on after the crash: more items, none of which was stored before."""
        log = Log(root, sync=self.sync)
        for number in range(12, 15):
            item = [f"key{number % 3}", number]
            with journal.attempt(item):
                log.append(item)

    def recover(self, root):
        log = Log(root, sync=self.sync)
        items, length = log.read()
        BEFORE_CUT.hit()  # Recovery crashes, too: it must be able to begin again.
        log.cut(length)
        return [[key, value] for key, value in dict(items).items()]


class TornTailStore(LogStore):
    """Done wrong: recovery takes every line for whole. A kill between the two writes leaves half a line."""

    def recover(self, root):
        lines = (root / "log").read_bytes().splitlines()
        return list(dict(json.loads(line.partition(b" ")[2]) for line in lines).items())


class TailKeptStore(LogStore):
    """Done wrong: recovery reads past no torn record, and leaves it there. A record appended behind it is never read."""

    def recover(self, root):
        items, _ = Log(root).read()
        return [[key, value] for key, value in dict(items).items()]


class UnsyncedStore(LogStore):
    """Done wrong: acknowledges records that are in the page cache only. A kill does not show the bug; a power cut does."""

    sync = False
