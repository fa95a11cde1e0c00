"""Disks: recorded block by block under a real filesystem, and crash images that a loop device serves.

The same roles as in `posix`, under the same names: recorder, stage, images, naming.
"""
