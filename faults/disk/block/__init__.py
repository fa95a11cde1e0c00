"""Disks: recorded block by block under a real filesystem, and crash images that a loop device serves.

Read in this order: `recorder` (what is logged), `sectors` (what a crash state leaves of it), `digests` (which states leave the
same image), `images` (a state, mounted), `stage` (how a recording is set up) and `naming` (which file each write concerns;
`magic` recognises the metadata of xfs and btrfs). `base` reads the disk as it was when its recording began. `ext4` knows that
filesystem: its layout, its journal, and which images it will recover to the same folder.

The room `posix` has the same roles under the same names, for trees of files: recorder, stage, images, digests, naming.
"""
