"""What a machine needs for a recording disk, checked one by one, each with its cause and its remedy.

Checking changes nothing outside this process and costs a few milliseconds.
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.disk.errors import RequirementsMissing
from faults.disk.filesystem import FILESYSTEMS, Filesystem
from faults.disk.kernel import die_with_parent
from faults.disk.namespace import enter_private_namespace

__all__ = ["Missing", "check_requirements", "requirements"]

_CAP_SYS_ADMIN = 21  # linux/capability.h
_PACKAGES = {"ext4": "e2fsprogs", "ext2": "e2fsprogs", "xfs": "xfsprogs", "btrfs": "btrfs-progs"}
_PROGRAM_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something this machine lacks: `what` in a word or two, the `cause`, and the `remedy`."""

    what: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.cause}; {self.remedy}"


def requirements(filesystems: tuple[str, ...] = FILESYSTEMS) -> list[Missing]:
    """What is missing for recording on these filesystems (names or specifications); empty if nothing is."""
    on_disk = [filesystem for filesystem in map(Filesystem.parse, filesystems) if filesystem.on_disk]
    checks = _DISK_CHECKS if on_disk else _TREE_CHECKS
    return [*(missing for check in checks if (missing := check())), *_missing_programs(on_disk)]


def check_requirements(filesystems: tuple[str, ...] = FILESYSTEMS) -> None:
    """Raise RequirementsMissing, naming everything, if anything is missing."""
    missing = requirements(filesystems)
    if missing:
        raise RequirementsMissing(
            "this machine cannot run a recording disk: " + "; ".join(f"{m.what} ({m.cause})" for m in missing),
            "; ".join(dict.fromkeys(m.remedy for m in missing)),
        )


def _linux() -> Missing | None:
    if platform.system() == "Linux":
        return None
    return Missing(what="Linux", cause=f"this is {platform.system()}", remedy="run in a Linux virtual machine")


def _privilege() -> Missing | None:
    status = Path("/proc/self/status")
    line = next((text for text in _lines(status) if text.startswith("CapEff:")), "CapEff: 0")
    if int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1:
        return None
    return Missing(
        what="CAP_SYS_ADMIN",
        cause=f"user {os.geteuid()} may not mount filesystems",
        remedy="run as root (sudo), in containers with --privileged",
    )


def _namespace() -> Missing | None:
    """Root may mount what is in memory; anyone may, in a user namespace, unless the machine forbids it."""
    if not _privilege():
        return None
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        try:
            die_with_parent(parent)
            enter_private_namespace()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    if not status:
        return None
    return Missing(
        what="user namespaces",
        cause=f"user {os.geteuid()} may not mount anything, not even in a namespace of its own",
        remedy="run as root, or permit it (sysctl kernel.unprivileged_userns_clone=1,"
        " kernel.apparmor_restrict_unprivileged_userns=0)",
    )


def _refused(path: str) -> str:
    """Why a device cannot be opened; empty if it can. Permissions say too little: a container's rules stand above them."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{path}: {os.strerror(error.errno or 0).lower()}"
    return ""


def _fuse_device() -> Missing | None:
    if not (cause := _refused("/dev/fuse")):
        return None
    return Missing(
        what="FUSE",
        cause=cause,
        remedy="load the driver (modprobe fuse), in containers run with --privileged or --device /dev/fuse",
    )


def _loop() -> Missing | None:
    if not (cause := _refused("/dev/loop-control")):
        return None
    return Missing(
        what="loop devices",
        cause=cause,
        remedy="load the driver (modprobe loop), in containers run with --privileged",
    )


_Check = Callable[[], Missing | None]
_DISK_CHECKS: tuple[_Check, ...] = (_linux, _privilege, _fuse_device, _loop)
_TREE_CHECKS: tuple[_Check, ...] = (_linux, _namespace, _fuse_device)


def _missing_programs(filesystems: list[Filesystem]) -> Iterator[Missing]:
    for filesystem in filesystems:
        if not shutil.which(filesystem.program, path=_PROGRAM_PATH):
            package = _PACKAGES[filesystem.name]
            yield Missing(
                what=filesystem.program, cause="not installed", remedy=f"install {package} (apt-get install {package})"
            )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
