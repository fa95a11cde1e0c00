"""A disk that records every write: run a workload on it, then look at the states that a power cut could leave.

    trace = record(workload, options=RecordOptions(filesystem="ext4", nudge="mixed", seed=1))
    with CrashImages(trace) as images:
        for state in CrashStates(trace):
            with images.mounted(state) as root:
                ...  # recover here, in a forked process, and compare with trace.notes_before(state.cut)

A state's str() and the saved trace (`save_trace(trace, path)`) are enough to see it again: `CrashState.parse(text, trace)`.
For speed: start one worker process for each CPU, pinned to it, with CrashImages of its own. Take states in batches of a few
hundred and sort each batch by `state.cut`. Skip a state if another with the same `states.outcomes.of(state)` and the same
promises was judged.

Read in this order:

    recording      runs the workload and returns the trace; `stage` is where it runs, `recorder` the process that logs,
                   `nudges` make the kernel write as a busy machine would, `filesystem` makes and mounts filesystems
    trace/         the operations that reached the disk, in total order, and what each sync made durable
    state          one crash state and its name
    enumeration/   what can differ at a cut, and the order in which to try it
    crash_states   which states a power cut could leave, in this order
    crash_images   each of them as a folder
    change_names   which file each change concerns
    media          chooses between the two rooms that do all this:
      block/       a disk. A process serves one file through FUSE, a loop device makes it a disk, and a real filesystem is on it;
                   `block/ext4/outcomes` predicts which images become the same folder
      posix/       a tree of files: the weakest filesystem that POSIX allows, where a change is durable only once it was synced
    linux/         system calls, namespaces, forked processes, FUSE, loop devices
    capabilities   what a machine needs: root, FUSE and loop devices for a disk; FUSE, without root, for `posix`

The fault model: all writes before the last flush are there; any subset of the writes after it is, down to 512-byte sectors.
Not covered: disks that lie about flushes, bit rot, reads that fail.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crashmatrix.faults.disk.capabilities import Missing, check_requirements, requirements
    from crashmatrix.faults.disk.crash_images import CrashImages
    from crashmatrix.faults.disk.crash_states import Coverage, CrashStates, Cut, StateOptions
    from crashmatrix.faults.disk.errors import (
        DiskError,
        InvalidOption,
        InvalidState,
        InvalidTrace,
        MountRefused,
        RecorderFailed,
        RecordingFailed,
        RequirementsMissing,
        SystemCallFailed,
        WorkloadFailed,
    )
    from crashmatrix.faults.disk.filesystem import FILESYSTEMS, Filesystem
    from crashmatrix.faults.disk.linux.kernel import die_with_parent, end_child
    from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
    from crashmatrix.faults.disk.nudges import NUDGES
    from crashmatrix.faults.disk.recording import Recordings, RecordOptions, record
    from crashmatrix.faults.disk.stage import DiskFault, Machine
    from crashmatrix.faults.disk.state import CrashState, Tear
    from crashmatrix.faults.disk.trace.file import load_trace, save_trace
    from crashmatrix.faults.disk.trace.operations import (
        Change,
        Data,
        Failure,
        Flush,
        Mark,
        Names,
        Node,
        Note,
        Operation,
        Size,
        Sync,
        Write,
    )
    from crashmatrix.faults.disk.trace.trace import Trace

__all__ = [
    "FILESYSTEMS",
    "NUDGES",
    "Change",
    "Coverage",
    "CrashImages",
    "CrashState",
    "CrashStates",
    "Cut",
    "Data",
    "DiskError",
    "DiskFault",
    "Failure",
    "Filesystem",
    "Flush",
    "InvalidOption",
    "InvalidState",
    "InvalidTrace",
    "Machine",
    "Mark",
    "Missing",
    "MountRefused",
    "Names",
    "Node",
    "Note",
    "Operation",
    "RecordOptions",
    "RecorderFailed",
    "RecordingFailed",
    "Recordings",
    "RequirementsMissing",
    "Size",
    "StateOptions",
    "Sync",
    "SystemCallFailed",
    "Tear",
    "Trace",
    "WorkloadFailed",
    "Write",
    "check_requirements",
    "die_with_parent",
    "end_child",
    "enter_private_namespace",
    "load_trace",
    "record",
    "requirements",
    "save_trace",
]

_HOMES = {
    "capabilities": ("Missing", "check_requirements", "requirements"),
    "crash_images": ("CrashImages",),
    "crash_states": ("Coverage", "CrashStates", "Cut", "StateOptions"),
    "errors": (
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
    ),
    "filesystem": ("FILESYSTEMS", "Filesystem"),
    "linux.kernel": ("die_with_parent", "end_child"),
    "linux.namespace": ("enter_private_namespace",),
    "nudges": ("NUDGES",),
    "recording": ("RecordOptions", "Recordings", "record"),
    "stage": ("DiskFault", "Machine"),
    "state": ("CrashState", "Tear"),
    "trace.file": ("load_trace", "save_trace"),
    "trace.operations": (
        "Change",
        "Data",
        "Failure",
        "Flush",
        "Mark",
        "Names",
        "Node",
        "Note",
        "Operation",
        "Size",
        "Sync",
        "Write",
    ),
    "trace.trace": ("Trace",),
}


def __getattr__(name: str) -> Any:
    """Import a name when it is used: jobs need few, and a fork of a process with all modules takes longer."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
