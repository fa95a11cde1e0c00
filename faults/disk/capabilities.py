"""Requirements of a recording disk, checked one by one; each that is missing comes with its cause and its remedy.

Checking changes nothing outside this process and costs a few milliseconds.
"""

import errno
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.faults.disk.errors import RequirementsMissing
from crashmatrix.faults.disk.filesystem import FILESYSTEMS, Filesystem
from crashmatrix.faults.disk.linux.containment import run_forked
from crashmatrix.faults.disk.linux.namespace import enter_private_namespace

__all__ = ["Missing", "check_requirements", "requirements"]

_CAP_SYS_ADMIN = 21  # linux/capability.h
_MISC_MAJOR = 10  # linux/major.h; minors are in linux/miscdevice.h
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
    """List what is missing for recording on these filesystems (names or specifications); empty if nothing is."""
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
    """Root may mount filesystems in memory; so may any user in a user namespace, unless the machine forbids it."""
    if not _privilege():
        return None
    if run_forked(enter_private_namespace) == 0:
        return None
    return Missing(
        what="user namespaces",
        cause=f"user {os.geteuid()} may not mount anything, not even in a namespace of its own",
        remedy="run as root, or permit it (sysctl kernel.unprivileged_userns_clone=1,"
        " kernel.apparmor_restrict_unprivileged_userns=0)",
    )


def _refused(path: str, minor: int) -> OSError | None:
    """The error that opening a device raises; None if it opens. Its permissions are not enough to know: a container's rules
    override them."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_rdev != os.makedev(_MISC_MAJOR, minor):
                return OSError(errno.ENODEV, "this is another device or a file")
        finally:
            os.close(descriptor)
    except OSError as error:
        return error
    return None


def _device(what: str, path: str, minor: int, allow: str, container: str) -> Missing | None:
    """A device that cannot be used, with its remedy: a permission, another device, or a driver."""
    if not (refused := _refused(path, minor)):
        return None
    driver = path.removeprefix("/dev/").removesuffix("-control")
    remedy = {
        errno.EACCES: f"{allow}, or run as root (sudo)",
        errno.EPERM: f"the container forbids it: run it with {container}",
        errno.ENODEV: f"make the device again (sudo mknod {path} c {_MISC_MAJOR} {minor}), in containers run with {container}",
    }.get(refused.errno or 0, f"load the driver (modprobe {driver}), in containers run with {container}")
    return Missing(what=what, cause=f"{path}: {str(refused.strerror).lower()}", remedy=remedy)


def _fuse_device() -> Missing | None:
    allow = f"let user {os.geteuid()} open it (sudo chmod 666 /dev/fuse, the usual mode)"
    return _device("FUSE", "/dev/fuse", 229, allow, "--privileged or --device /dev/fuse")


def _loop() -> Missing | None:
    allow = f"let user {os.geteuid()} open it"
    return _device("loop devices", "/dev/loop-control", 237, allow, "--privileged")


def _of_root(check: "_Check") -> "_Check":
    """Drop a missing permission that root would have: the missing root is listed already."""

    def checked() -> Missing | None:
        missing = check()
        permission = missing is not None and missing.cause.endswith(os.strerror(errno.EACCES).lower())
        return None if permission and _privilege() else missing

    return checked


_Check = Callable[[], Missing | None]
_DISK_CHECKS: tuple[_Check, ...] = (_linux, _privilege, _of_root(_fuse_device), _of_root(_loop))
_TREE_CHECKS: tuple[_Check, ...] = (_linux, _namespace, _fuse_device)


def _missing_programs(filesystems: list[Filesystem]) -> Iterator[Missing]:
    for filesystem in filesystems:
        if not shutil.which(filesystem.program, path=_PROGRAM_PATH):
            package = filesystem.package
            yield Missing(
                what=filesystem.program, cause="not installed", remedy=f"install {package} (apt-get install {package})"
            )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
