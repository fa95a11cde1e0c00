"""The filesystems of recorded disks: how each is made, small and lean, and mounted, once or several times.

A specification is text: the name, then after a colon the mount options, as in `ext4:data=writeback,noatime`.

Traps handled here:
- Crash images of one disk share a UUID. xfs refuses the second mount without the option `nouuid`. btrfs gives a
  single-device filesystem a temporary identity when its own is taken (Linux 6.7 and later); before that, a second
  mount at the same time is refused. mkfs.btrfs refuses a UUID that any device has, even the image of an earlier
  recording that is just being released. So each btrfs gets a random UUID, and only images of one trace compete.
- btrfs discards freed blocks by itself, which is wasted work on a crash image.
- ext2 has no journal: after a crash its own check has to repair it before it is mounted, as a machine does at boot. Its
  blocks are assumed to be written whole: a directory block whose half is old may have lost a name in the middle
  of a rename.
- mkfs draws random numbers by default. Here UUID and hash seed come from the seed, except for btrfs.
"""

import errno
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from crashmatrix.faults.disk.errors import InvalidOption, MountRefused, RecordingFailed
from crashmatrix.faults.disk.linux.kernel import MOUNT_FLAGS, mount
from crashmatrix.faults.disk.nudges import NUDGES

__all__ = ["FILESYSTEMS", "Filesystem"]

_MIB = 1 << 20
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1"}
_E2FSCK_REPAIRED, _E2FSCK_REBOOT = 1, 2  # e2fsck(8), exit code


@dataclass(frozen=True, kw_only=True)
class _Kind:
    size_mib: int  # room for systems that allocate ahead; a disk is sparse, and where nothing was written costs nothing
    make: tuple[str, ...]
    package: str = ""  # Debian's name for what has the program that makes it
    always: tuple[str, ...] = ()
    gives_room_back: tuple[str, ...] = ()  # how it is made so that it has room again once files are removed
    images: tuple[str, ...] = ()  # make mounting a crash image cheaper: no power cut will come
    atomic_bytes: int = 512  # the disk has to write this much whole
    atomic_range: range = range(0)  # and these bytes
    lone_identity: bool = False  # no two devices may have one UUID
    check: tuple[str, ...] = ()  # repairs it after a crash, if mounting does not


_EXT_SEED = ("-U", "{uuid}", "-E", "nodiscard,lazy_itable_init=0,hash_seed={uuid}")

_KINDS = {
    "ext4": _Kind(
        size_mib=1024,
        make=(
            *("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-J", "size=4", "-N", "4096", "-O", "^resize_inode"),
            *("-U", "{uuid}", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0,hash_seed={uuid}"),
        ),
        package="e2fsprogs",
        images=("nobarrier",),
        # The superblock: with one of its two sectors old it fails its checksum, and only e2fsck tries another copy.
        atomic_range=range(1024, 2048),
    ),
    "ext2": _Kind(
        size_mib=128,  # All of it is checked before it is mounted.
        make=("mkfs.ext2", "-q", "-F", "-b", "4096", "-m", "0", "-N", "4096", "-O", "^resize_inode", *_EXT_SEED),
        package="e2fsprogs",
        atomic_bytes=4096,
        check=("e2fsck", "-f", "-y"),
    ),
    "xfs": _Kind(
        size_mib=1024, make=("mkfs.xfs", "-q", "-f", "-K", "-m", "uuid={uuid}"), package="xfsprogs", always=("nouuid",)
    ),
    "btrfs": _Kind(
        size_mib=1024,
        make=("mkfs.btrfs", "-q", "-f", "-K", "-m", "single", "-d", "single", "-U", "{uuid}"),
        gives_room_back=("--mixed",),  # Else all of the disk belongs to data then, and none is left for metadata.
        package="btrfs-progs",
        always=("nodiscard",),
        images=("nobarrier",),
        # A superblock with half its sectors old fails its checksum, and the kernel tries no other copy.
        atomic_bytes=4096,
        lone_identity=True,
    ),
    "posix": _Kind(size_mib=0, make=()),  # No disk: see crashmatrix.faults.disk.posix.
}

FILESYSTEMS = tuple(_KINDS)
"""The names a specification can start with."""


@dataclass(frozen=True, kw_only=True)
class Filesystem:
    """A filesystem and the options it is mounted with. `name` is one of FILESYSTEMS."""

    name: str
    options: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Filesystem":
        """Parse `name` or `name:option,option`. Raises InvalidOption for a name that is not in FILESYSTEMS, or options that the
        filesystem cannot have."""
        name, _, options = text.partition(":")
        if name not in _KINDS:
            raise InvalidOption(f"{name!r} is not a filesystem this library can make", f"use {', '.join(FILESYSTEMS)}")
        if options and not _KINDS[name].make:
            raise InvalidOption(f"{name} has no mount options", f"use {name}")
        return cls(name=name, options=tuple(option for option in options.split(",") if option))

    @classmethod
    def parse_list(cls, text: str) -> tuple["Filesystem", ...]:
        """Parse several with commas between them: a part that is not a filesystem's name is an option of the one before it.

        Raises InvalidOption as `parse` does.
        """
        given: list[str] = []
        for part in filter(None, text.split(",")):
            if given and ":" in given[-1] and part.partition(":")[0] not in _KINDS:
                given[-1] += f",{part}"
            else:
                given.append(part)
        return tuple(map(cls.parse, given))

    def __str__(self) -> str:
        return f"{self.name}:{','.join(self.options)}" if self.options else self.name

    @property
    def on_disk(self) -> bool:
        """Whether the filesystem is a real one on a recorded disk; otherwise its changes are recorded directly."""
        return bool(_KINDS[self.name].make)

    @property
    def nudges(self) -> tuple[str, ...]:
        """The kinds of nudge that change a recording: none on `posix`, where nothing depends on what the kernel writes early."""
        return tuple(kind for kind in NUDGES if self.on_disk and kind != "none")

    @property
    def program(self) -> str:
        """The program that makes it."""
        return _KINDS[self.name].make[0]

    @property
    def package(self) -> str:
        """The Debian package that has the program."""
        return _KINDS[self.name].package

    @property
    def default_size_bytes(self) -> int:
        """The disk's size unless another is given."""
        return _KINDS[self.name].size_mib * _MIB

    @property
    def atomic_bytes(self) -> int:
        """The unit, in bytes, that the filesystem relies on a disk to write whole; smaller tears break the filesystem itself."""
        return _KINDS[self.name].atomic_bytes

    @property
    def atomic_range(self) -> range:
        """Bytes of the disk, whole sectors, that the filesystem relies on a disk to write together, besides each unit."""
        return _KINDS[self.name].atomic_range

    @property
    def keeps_room(self) -> bool:
        """Whether it stays full when files are removed, unless it is made so that it does not."""
        return bool(_KINDS[self.name].gives_room_back)

    @property
    def journaled(self) -> bool:
        """Whether it recovers from a crash by itself, when mounted."""
        return not _KINDS[self.name].check

    def make(self, path: str, *, seed: int, descriptors: tuple[int, ...] = (), gives_room_back: bool = False) -> None:
        """Make the filesystem on a file of zeros; `descriptors` are passed on, for a path under /dev/fd.

        With `gives_room_back`, it has room again once files are removed.

        Raises RecordingFailed with the program's message.
        """
        of_seed = uuid.uuid5(uuid.NAMESPACE_OID, f"crashmatrix {seed} {self.name}")
        identity = str(uuid.uuid4() if _KINDS[self.name].lone_identity else of_seed)
        command = [part.format(uuid=identity) for part in _KINDS[self.name].make]
        command += _KINDS[self.name].gives_room_back if gives_room_back else ()
        done = subprocess.run(
            [*command, path], capture_output=True, text=True, check=False, env=_ENVIRONMENT, pass_fds=descriptors
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip().replace("\n", " | ")[:500]
            raise RecordingFailed(f"{self.program} failed: {said}", "try another size, or update the program")

    def repair(self, path: str, *, descriptors: tuple[int, ...] = ()) -> None:
        """After a crash, run the check that mounting requires; a filesystem with a journal or a log needs none.

        Raises MountRefused with the program's message, if the check fails.
        """
        command = _KINDS[self.name].check
        if not command:
            return
        done = subprocess.run(
            [*command, path], capture_output=True, text=True, check=False, env=_ENVIRONMENT, pass_fds=descriptors
        )
        if done.returncode & ~(_E2FSCK_REPAIRED | _E2FSCK_REBOOT):
            said = (done.stderr or done.stdout).strip().replace("\n", " | ")[-500:]
            raise MountRefused(
                f"{command[0]} with status {done.returncode}: {said}", errno.EUCLEAN, "none: the filesystem is lost"
            )

    def mount(self, device: str, target: Path, *, image: bool = False) -> None:
        """Mount with the options; a crash `image` without flushes, which it does not need. Raises MountRefused."""
        kind = _KINDS[self.name]
        flags, words = 0, list(kind.always)
        for option in self.options:
            if option in MOUNT_FLAGS:
                flags |= MOUNT_FLAGS[option]
            else:
                words.append(option)
        words += kind.images if image else ()
        mount(device, target, self.name, flags, ",".join(words))
