"""Every call that changes a file is a crash point of its name, before it is done; calls that change nothing are none."""

from __future__ import annotations

import errno
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.calls.table import ASIDE, KINDS, REFUSED, SLEEPS
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios import attribute_calls as do
from tests.scenarios.processes.test_jobs import SECONDS

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

SEEN = [
    *[(name, [f"call.{name}"]) for name in (
        "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat", "utime", "utimes", "futimesat",
        "utimensat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr",
        "removexattrat", "file_setattr", "mknod", "mknodat", "bind", "ioctl", "creat", "open_by_handle_at",
        "sync_file_range", "syncfs", "splice", "io_submit", "madvise",
    )],
    ("utimensat of a descriptor", ["call.utimensat"]),
    *[(name, []) for name in (
        "attributes elsewhere", "times elsewhere", "clone to elsewhere", "another ioctl", "asynchronous read",
        "asynchronous write elsewhere", "a socket without a name", "the owner that it has",
        "the mode that it has", "reading attributes",
    )],
]  # fmt: skip

HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.attribute_calls"]) as jobs:
        yield jobs


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other machines lack the older of these calls")
@pytest.mark.parametrize(("name", "points"), SEEN)
def test_calls(jobs: Jobs, tmp_path: Path, name: str, points: list[str]) -> None:
    """A call that changes content, names or attributes in the folder is seen before it has done anything."""
    (tmp_path / "root").mkdir()
    seen, untouched = value(jobs.run(do.watch_attribute_call, name, tmp_path / "root", seconds_max=SECONDS))
    assert seen == points
    assert untouched


def test_rings_are_refused_and_named(jobs: Jobs, tmp_path: Path) -> None:
    """A program that wants a ring of io_uring hears that the kernel has none, and the report says what is not covered."""
    status, lacks = value(jobs.run(do.try_a_ring, tmp_path, seconds_max=SECONDS))
    assert status == errno.ENOSYS
    assert len(lacks) == 1
    assert "io_uring" in lacks[0]


@pytest.mark.parametrize("machine", HEADERS)
def test_numbers(machine: str) -> None:
    """The numbers are the kernel's, as far as this machine's headers know them."""
    headers = [Path(path) for path in HEADERS[machine] if Path(path).exists()]
    if not headers:
        pytest.skip(f"no kernel headers for {machine}")
    text = re.sub(r"__NR3264_", "__NR_", headers[0].read_text())
    official = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", text)}
    at = list(HEADERS).index(machine)
    ours = {
        name: numbers[at]
        for name, numbers in {
            **{name: kind.numbers for kinds in (KINDS, ASIDE) for name, kind in kinds.items()},
            **SLEEPS,
            **REFUSED,
        }.items()
    }
    assert len(official.keys() & ours.keys()) > 40
    assert {name: number for name, number in ours.items() if number != official.get(name, number)} == {}
    absent = {name for name, number in ours.items() if number == 0}
    assert not absent & official.keys()
