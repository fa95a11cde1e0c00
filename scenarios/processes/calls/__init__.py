"""The system calls of a process tree: held back one by one, recognised, and continued."""
