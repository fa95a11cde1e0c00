"""Requests and answers of FUSE, byte by byte. Every recording tests that the kernel understands them."""

import errno
import os
import socket
import struct

import pytest

from crashmatrix.faults.disk.linux import fuse
from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.faults.disk.linux.fuse import Attributes, Opcode, Request, Setattr

ATTRIBUTES = Attributes(7, 0o100644, 1025, 2, 1000, 100, 0, 3_000_000_001, 2_000_000_002, 1_000_000_003)


def request(body: bytes) -> Request:
    return Request(Opcode.LOOKUP, 1, 0, 0, memoryview(body))


def test_names_are_split_at_their_ends() -> None:
    """Names are split also behind numbers, and may have any bytes but NUL."""
    assert request(b"old\0new \xff\0").names() == [b"old", b"new \xff"]
    assert request(struct.pack("=Q", 7) + b"name\0").names(8) == [b"name"]
    assert request(struct.pack("=QI", 7, 8)).unpack("QI") == (7, 8)


def test_a_write_has_its_data_and_no_more() -> None:
    body = struct.pack("=QQI20x", 3, 4096, 5) + b"hello" + b"rest"
    handle, offset, data = request(body).written()
    assert (handle, offset, bytes(data)) == (3, 4096, b"hello")


@pytest.mark.parametrize(
    ("valid", "expected"),
    [
        (0, Setattr(None, None, None, None, None, None)),
        (1 << 0, Setattr(0o640, None, None, None, None, None)),
        (1 << 1 | 1 << 2, Setattr(None, 5, 6, None, None, None)),
        (1 << 3, Setattr(None, None, None, 999, None, None)),
        (1 << 4 | 1 << 5, Setattr(None, None, None, None, 10_000_000_001, 20_000_000_002)),
        (1 << 4 | 1 << 7, Setattr(None, None, None, None, -1, None)),
        (1 << 5 | 1 << 8, Setattr(None, None, None, None, None, -1)),
    ],
)
def test_attributes_to_set(valid: int, expected: Setattr) -> None:
    """A request sets only the attributes that it names; a time may be the present."""
    body = struct.pack("=II6Q8I", valid, 0, 0, 999, 0, 10, 20, 0, 1, 2, 0, 0o640, 0, 5, 6, 0)
    assert Setattr.of(request(body)) == expected


def test_a_directory_is_read_in_parts() -> None:
    """Each name comes once, however small the kernel's buffer, and the offset leads to the next name."""
    entries = [(b"%d" % number * (number + 1), number + 10, 0o40755) for number in range(9)]
    for length in (64, 100, 1000):
        found: list[tuple[bytes, int, int]] = []
        while part := fuse.directory_entries(entries, len(found), length):
            assert len(part) <= length
            position = 0
            while position < len(part):
                inode, number, size, kind = struct.unpack_from("=QQII", part, position)
                found.append((part[position + 24 : position + 24 + size], inode, kind << 12))
                assert number == len(found)
                position += -(-(24 + size) // 8) * 8
        assert found == [(name, inode, 0o40000) for name, inode, _ in entries]


def test_attributes_are_laid_out_as_the_kernel_reads_them() -> None:
    """struct fuse_attr: sizes in bytes and in blocks of 512, times in seconds and nanoseconds."""
    numbers = struct.unpack_from("=6Q10I", fuse.attributes_reply(ATTRIBUTES), 16)
    assert numbers == (7, 1025, 3, 1, 2, 3, 3, 2, 1, 0o100644, 2, 1000, 100, 0, 4096, 0)
    assert fuse.entry_reply(ATTRIBUTES)[40:] == fuse.attributes_reply(ATTRIBUTES)[16:]
    assert struct.unpack_from("=Q", fuse.entry_reply(ATTRIBUTES)) == (7,)


def test_an_unknown_request_and_a_failed_one_get_errors() -> None:
    """An unknown request and a failed one get errors, here over a socket in place of /dev/fuse."""
    ours, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def refuses(_: Request) -> bytes:
        raise OSError(errno.EPERM, "no")

    def ask(opcode: int, unique: int) -> None:
        ours.send(struct.pack("=IIQQIIIHH", 40, opcode, unique, 1, 0, 0, 0, 0, 0))

    for number, opcode in enumerate((Opcode.MKDIR, 4000, Opcode.FORGET, Opcode.STATFS), 1):
        ask(opcode, number)
    handlers = {Opcode.MKDIR: refuses, Opcode.STATFS: lambda _: os._exit(9)}
    assert run_forked(lambda: fuse.serve(device.fileno(), handlers, 60)) == 9  # type: ignore[arg-type]
    device.close()
    answers = [struct.unpack("=IiQ", ours.recv(100)) for _ in range(2)]
    assert answers == [(16, -errno.EPERM, 1), (16, -errno.ENOSYS, 2)]
    assert ours.recv(100) == b""  # The request that needs no answer got none.
    ours.close()
