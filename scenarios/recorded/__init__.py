"""A workload recorded on a disk, and the crash states of the recording, each judged: what experiments that need a disk share."""
