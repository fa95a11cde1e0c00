"""The weakest filesystem that POSIX allows: a power cut may take everything that no sync has made durable.

    system under test ── files ──> FUSE ──> recorder, which logs each change and each sync ──> trace

Read in this order: `recorder` (what is logged; `attributes` has what belongs to metadata), `tree` (what a crash state leaves of
it; `content` has the files' bytes), `digests` (which states leave the same tree), `images` (a state as real files, which
`layout` makes), `stage` (how a recording is set up) and `naming` (which file each change concerns). The room `block` has the
same roles under the same names, for disks.

The filesystems of a kernel keep more than they must, each in its own way: after fsync of a new file, ext4, xfs and btrfs have
made its name durable, too. A program that relies on this is safe on them, although no standard promises it. Here only the order
of system calls is recorded, and every state that the promises allow is a crash state. The idea and its words come from ALICE
(Pillai et al., All File Systems Are Not Created Equal, OSDI 2014): which writes are atomic, and which are ordered.

Promised, and so always there:

- fsync or fdatasync of a file: its data and its size. POSIX (fsync): "all data for the open file descriptor"; fdatasync
  leaves out only what is not needed to read the data back, and the size is.
- fsync of a file or directory, and not fdatasync: its permissions, owner, extended attributes, and the times that a program
  set. Linux, fsync(2): it "also flushes the metadata information associated with the file (see inode(7))", and fdatasync "does
  not flush modified metadata unless that metadata is needed in order to allow a subsequent data retrieval to be correctly
  handled"; its example for metadata that is not flushed is a time, for metadata that is flushed the size.
- fsync of a directory: its names. Linux, fsync(2): syncing a file "does not necessarily ensure that the entry in the directory
  containing the file has also reached disk. For that an explicit fsync() on a file descriptor for the directory is also
  needed." So fsync of a file makes no name durable, not even its own, and fsync of a directory makes no file's content durable.
- A rename is one change: both names or neither, also between two directories, where a sync of either one makes all
  of it durable. POSIX demands this for every process that looks, and does not mention power cuts. If a rename could tear, a file
  that had been durable for years could be lost, and no order of syncs would help. No journaled filesystem tears it. ext2 does
  between two directories: if only the old one has reached the disk, the file is in neither.
- Changes to one name happen in order, and so do those of a file's data, sector by sector.

Everything else that is pending is there or not, in any combination:

- a creation, link, removal, rename, each by itself; a file without a name is gone with its content, and so is everything below a
  directory without a name, however often it was synced;
- each write, and it may be torn: some of its 512-byte sectors missing;
- each change of permissions, of the owner, of an extended attribute, or of a time that a program set;
- a file's growth without the data, which then reads as zeros, and data without the growth, which cannot be read.

Not covered:

- sync(2) and syncfs(2): the kernel does not pass them on to FUSE, so they make nothing durable here, and a system that relies
  on them alone is accused wrongly. Everything that `prepare` leaves is durable without a sync.
- A write with O_SYNC or O_DSYNC makes durable everything that was written to the file before it, more than POSIX requires: the
  kernel passes it on as a write and an fsync (seen on Linux 6.18).
- A write(2) may arrive in parts, cut at pages; each is a write of its own, which can only lose more.
- Stores into shared mappings arrive when the kernel writes them: at msync, fsync, munmap or when it sees fit.
- A time that comes with a change (a write's, say) is lost or kept together with that change, although POSIX would let it be lost
  alone. Times of access that no program set are those of the last change.
- ACLs are kept, but this filesystem does not enforce them, and new files do not inherit them. Extended attributes need Linux
  6.6, since crash images lie in memory; earlier, setting one fails as on a filesystem without them.
- Filesystems weaker than that: sectors half written, growth that shows another file's old bytes, renames torn in two. `--fs ext2`
  has the latter. Here they would accuse a store that syncs the old directory and then the new one, which is safe on any other.

Needs FUSE in the kernel and the right to mount: no disk, no loop device, no library.
"""
