"""Each missing requirement is named, with the cause and the remedy."""

import errno
import os
import re
from pathlib import Path

import pytest

from crashmatrix.faults import disk
from crashmatrix.faults.disk import InvalidOption, RequirementsMissing, check_requirements, record, requirements
from crashmatrix.faults.disk.linux.kernel import mount
from crashmatrix.faults.disk.linux.namespace import enter_private_namespace
from tests.faults.disk.support import in_child


def test_missing_things_are_named_with_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crashmatrix.faults.disk.capabilities.shutil.which", lambda *_, **__: None)
    monkeypatch.setattr(
        "crashmatrix.faults.disk.capabilities._refused", lambda *_: OSError(errno.ENOENT, "no such file")
    )
    monkeypatch.setattr("crashmatrix.faults.disk.capabilities._lines", lambda _: ["CapEff:\t0000000000000000"])
    what = [missing.what for missing in requirements()]
    assert what == [
        *("CAP_SYS_ADMIN", "FUSE", "loop devices"),
        *("mkfs.ext4", "mkfs.ext2", "mkfs.xfs", "mkfs.btrfs"),
    ]
    assert all(missing.cause and missing.remedy for missing in requirements())
    with pytest.raises(RequirementsMissing, match=r"FUSE.*modprobe fuse.*apt-get install e2fsprogs"):
        check_requirements(("ext4",))


def test_only_the_filesystems_asked_for_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "crashmatrix.faults.disk.capabilities.shutil.which", lambda name, **_: None if name == "mkfs.xfs" else name
    )
    assert not [missing for missing in requirements(("ext4:data=writeback",)) if "mkfs" in missing.what]
    assert [missing.what for missing in requirements(("xfs",)) if "mkfs" in missing.what] == ["mkfs.xfs"]
    with pytest.raises(InvalidOption):
        requirements(("ntfs",))


@pytest.mark.usefixtures("disk")
def test_devices_that_are_not_there() -> None:
    """A container may lack the devices: the error comes before anything is recorded, with the remedy."""

    def run() -> tuple[list[str], str]:
        enter_private_namespace()
        mount("none", Path("/dev"), "tmpfs")
        try:
            record(lambda machine: None)
        except RequirementsMissing as error:
            return [missing.cause for missing in requirements(("ext4",))], str(error)
        raise AssertionError("it recorded")

    causes, said = in_child(run)
    assert causes == [f"/dev/{name}: no such file or directory" for name in ("fuse", "loop-control")]
    assert "FUSE" in said
    assert "modprobe loop" in said


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, r"let user \d+ open it \(sudo chmod 666 /dev/fuse"),
        (errno.EPERM, "the container forbids it: run it with --privileged or --device /dev/fuse"),
        (errno.ENOENT, "load the driver \\(modprobe fuse\\)"),
    ],
)
def test_a_device_is_refused_for_several_reasons(number: int, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing permission is not a missing driver: the remedy fits the cause."""
    monkeypatch.setattr(
        "crashmatrix.faults.disk.capabilities._refused", lambda *_: OSError(number, os.strerror(number))
    )
    (fuse,) = [missing for missing in requirements(("posix",)) if missing.what == "FUSE"]
    assert fuse.cause == f"/dev/fuse: {os.strerror(number).lower()}"
    assert re.search(remedy, fuse.remedy)


@pytest.mark.usefixtures("disk")
def test_a_device_of_another_kind() -> None:
    """A file, or any other device, in the place of one is said to be that, before anything is recorded."""

    def run() -> list[str]:
        scratch = enter_private_namespace()
        for name in ("fuse", "loop-control"):
            mount("/dev/null", Path("/dev", name), "none", 0x1000)  # MS_BIND
        (scratch / "file").touch()
        causes = [missing.cause for missing in requirements(("ext4",))]
        mount(str(scratch / "file"), Path("/dev/fuse"), "none", 0x1000)
        return causes + [missing.cause for missing in requirements(("posix",))]

    another = "this is another device or a file"
    assert in_child(run) == [f"/dev/fuse: {another}", f"/dev/loop-control: {another}", f"/dev/fuse: {another}"]


def test_the_public_names_exist() -> None:
    assert sorted(disk.__all__, key=str.lower) == sorted(set(disk.__all__), key=str.lower)
    assert all(hasattr(disk, name) for name in disk.__all__)
