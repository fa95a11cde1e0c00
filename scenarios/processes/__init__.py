"""Processes: started, watched, held at their system calls, ended with all they started."""
