"""What Linux offers and Python's standard library does not: system calls, namespaces, loop devices, FUSE, extents."""
