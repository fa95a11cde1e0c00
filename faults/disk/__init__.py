"""A disk that remembers every write: record a workload on it, then look at every state a power cut could leave.

    trace = record(workload, options=RecordOptions(filesystem="ext4", nudge="mixed", seed=1))
    with CrashImages(trace) as images:
        for state in CrashStates(trace):
            with images.mounted(state) as root:
                ...  # recover here, in a forked process, and compare with trace.notes_before(state.cut)

A state's str() and the saved trace (`save_trace(trace, path)`) are all it takes to see it again: `CrashState.parse(text, trace)`.
For speed: one worker process a CPU, pinned to it, each with its own CrashImages; take states in batches of a few hundred
and sort each batch by `state.cut`; skip a state if one with the same `states.outcomes.of(state)` had the same promises.

A process serves one file through FUSE (`recorder`, `disk_recorder`), a loop device makes it a disk, a real filesystem
(`filesystem`) lives on it, and the system under test runs on that unmodified (`recording`). What reached the disk, in total
order, is a `trace`. `crash_states` says which images a power cut could leave and gives them names; `crash_images` mounts them;
`outcomes` says beforehand which of them become the same folder.
`nudges` make the kernel write as a busy machine would. Needs root, FUSE and loop devices: `requirements()` tells.

One filesystem, `posix`, is on no disk: the weakest that POSIX allows, where nothing is durable but what was synced by itself
(`posix`). What is recorded there are the changes to a tree of files; `medium` tells the two kinds apart, and nothing else
has to. It needs FUSE only, and no root.

The fault model: writes before the last flush are there; of the writes after it any subset is, down to 512-byte sectors.
Not covered: disks that lie about flushes, bit rot, reads that fail.
"""

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
from crashmatrix.faults.disk.recording import RecordOptions, record
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
