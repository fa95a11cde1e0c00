"""System calls and devices of Linux that Python's standard library does not offer.

Read `kernel` first (one thin function for each system call), then what is built on it: `containment` (forked processes),
`namespace` (mounts that die with a process), `loop`, `fuse`, `extents`, and `folders` and `removal`, which are safe in folders
that a hostile program may have changed.
"""
