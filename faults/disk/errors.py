"""Errors of the recording disk itself, not of the disks it records.

    DiskError (a crashmatrix.faults.FaultsError)
    ├── RequirementsMissing   this machine cannot run a recording disk
    ├── SystemCallFailed      the kernel refused something the library needs
    │   └── MountRefused      a filesystem did not mount: of a crash image, that is a verdict
    ├── RecorderFailed        the recorder did not start, died, or does not serve its files
    ├── RecordingFailed       a recording could not be made
    │   └── WorkloadFailed    the workload ended badly although no disk fault was planned
    └── InvalidTrace, InvalidState, InvalidOption   (also ValueError)   an argument makes no sense

Every error keeps its cause and its remedy, and survives pickling on its way out of a child process.
"""

import errno as errno_names
import os

from crashmatrix.faults.errors import FaultsError

__all__ = [
    "DiskError",
    "InvalidOption",
    "InvalidState",
    "InvalidTrace",
    "MountRefused",
    "RecorderFailed",
    "RecordingFailed",
    "RequirementsMissing",
    "SystemCallFailed",
    "WorkloadFailed",
]


class DiskError(FaultsError):
    """Base of all errors of `crashmatrix.faults.disk`. `cause` says what happened, `remedy` what to do next."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.cause, self.remedy = cause, remedy

    def __str__(self) -> str:
        return f"{self.cause}; {self.remedy}"


class RequirementsMissing(DiskError):
    """The machine lacks something a recording disk needs; `crashmatrix.faults.disk.requirements()` lists what is missing."""


class SystemCallFailed(DiskError):
    """A system call failed. `errno` is its error number."""

    def __init__(self, call: str, errno: int, remedy: str) -> None:
        name = errno_names.errorcode.get(errno, str(errno))
        super().__init__(f"{call}: {name} ({os.strerror(errno)})", remedy)
        self.args = (call, errno, remedy)
        self.errno = errno


class MountRefused(SystemCallFailed):
    """A filesystem refused to mount. On a crash image, the refusal is the filesystem's own verdict."""


class RecorderFailed(DiskError):
    """The recorder process did not start, died, or its control file is not where it should be."""


class RecordingFailed(DiskError):
    """A recording could not be made; the cause names the step."""


class WorkloadFailed(RecordingFailed):
    """The workload raised or exited with a status other than 0, and no disk fault explains it."""

    REMEDY = "fix the workload"


class InvalidTrace(DiskError, ValueError):
    """A trace file or recorder log is damaged, of another version, or of something else."""


class InvalidState(DiskError, ValueError):
    """A crash state's id is malformed or does not fit the trace it is used with."""


class InvalidOption(DiskError, ValueError):
    """A filesystem, nudge, fault or mount option that does not exist."""
