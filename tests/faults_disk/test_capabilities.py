"""What is missing is named, with the cause and the remedy."""

import pytest

import faults.disk
from faults.disk import InvalidOption, RequirementsMissing, check_requirements, requirements


def test_missing_things_are_named_with_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.disk.capabilities.shutil.which", lambda *_, **__: None)
    monkeypatch.setattr("faults.disk.capabilities.os.access", lambda *_: False)
    monkeypatch.setattr("faults.disk.capabilities._lines", lambda _: ["CapEff:\t0000000000000000"])
    what = [missing.what for missing in requirements()]
    assert what == [
        *("CAP_SYS_ADMIN", "/dev/fuse", "loop devices"),
        *("mkfs.ext4", "mkfs.ext2", "mkfs.xfs", "mkfs.btrfs"),
    ]
    assert all(missing.cause and missing.remedy for missing in requirements())
    with pytest.raises(RequirementsMissing, match=r"/dev/fuse.*modprobe fuse.*apt-get install e2fsprogs"):
        check_requirements(("ext4",))


def test_only_the_filesystems_asked_for_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.disk.capabilities.shutil.which", lambda name, **_: None if name == "mkfs.xfs" else name)
    assert not [missing for missing in requirements(("ext4:data=writeback",)) if "mkfs" in missing.what]
    assert [missing.what for missing in requirements(("xfs",)) if "mkfs" in missing.what] == ["mkfs.xfs"]
    with pytest.raises(InvalidOption):
        requirements(("ntfs",))


def test_the_public_names_exist() -> None:
    assert sorted(faults.disk.__all__, key=str.lower) == sorted(set(faults.disk.__all__), key=str.lower)
    assert all(hasattr(faults.disk, name) for name in faults.disk.__all__)
