"""The weakest filesystem that POSIX allows: what a power cut may leave where nothing holds but what is promised.

    system under test ── files ──> FUSE ──> recorder, which logs each change and each sync ──> trace

The filesystems of a kernel keep more than they must, each in its own way: after fsync of a new file, ext4, xfs and btrfs have its
name durable, too. A program that relies on that is safe on them and nowhere promised to be. Here the order of system calls
alone is recorded, and every state that the promises allow is a crash state. The idea and the words for it are ALICE's
(Pillai et al., All File Systems Are Not Created Equal, OSDI 2014): which writes are atomic, and which are ordered.

What is promised, and so always there:

- fsync or fdatasync of a file: its data and its size. POSIX (fsync): "all data for the open file descriptor"; fdatasync
  leaves out only what is not needed to read the data back, and the size is.
- fsync of a directory: its names. Linux, fsync(2): syncing a file "does not necessarily ensure that the entry in the directory
  containing the file has also reached disk. For that an explicit fsync() on a file descriptor for the directory is also
  needed." So that of a file brings no name along, not even its own, and that of a directory no file's content.
- A rename is one change: both names or neither, also between two directories, where a sync of either one makes all
  of it durable. POSIX demands as much for whoever looks, and says nothing of power cuts; but were it torn, a file could be
  lost that had been durable for years, and no order of syncs would help. Every filesystem with a journal or log keeps it.
- Changes to one name happen in order, and so do those of a file's data, sector by sector.

All else that is pending is there or not, in any combination:

- a creation, link, removal, rename, each by itself; a file without a name is gone with its content, and so is all that is
  below a directory without a name, however often it was synced;
- each write, and it may be torn: some of its 512-byte sectors missing;
- a file's growth without the data, which then reads as zeros, and data without the growth, which is not to be seen.

Not covered:

- sync(2) and syncfs(2): the kernel does not pass them on to FUSE, so they make nothing durable here, and a system that relies
  on them alone is accused wrongly. What `prepare` leaves is durable without any sync.
- A write with O_SYNC or O_DSYNC makes all of the file durable that was written before it, more than POSIX asks: the kernel
  passes it on as a write and an fsync (seen on Linux 6.18).
- A write(2) may arrive in parts, cut at pages; each is a write of its own, which can only lose more.
- Stores into shared mappings arrive when the kernel writes them: at msync, fsync, munmap or when it sees fit.
- Permissions are those at the recording's end; owners, times and extended attributes (there are none) do not count.
- Filesystems weaker than that: renames torn in two, sectors half written, growth that shows another file's old bytes.

Needs FUSE in the kernel and the right to mount: no disk, no loop device, no library.
"""

from crashmatrix.faults.disk.posix.images import TreeImages
from crashmatrix.faults.disk.posix.stage import TreeStage
from crashmatrix.faults.disk.posix.tree import TreeDigests

__all__ = ["TreeDigests", "TreeImages", "TreeStage"]
