"""The `kill` experiment: the process dies by SIGKILL, also during recovery."""
