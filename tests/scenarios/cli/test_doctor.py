"""The doctor says of each need whether it is met, and how to meet it."""

from __future__ import annotations

import shutil

import pytest

from crashmatrix.faults.disk import FILESYSTEMS, Filesystem
from crashmatrix.scenarios.cli.doctor import examine
from crashmatrix.scenarios.extras import EXTRAS


def test_everything_is_looked_at() -> None:
    """Python, each extra's packages, each filesystem's program, and power cuts with and without root."""
    found = {finding.what: finding for finding in examine()}
    on_disk = [each for each in map(Filesystem.parse, FILESYSTEMS) if each.on_disk]
    packages = [package for names in EXTRAS.values() for package in names]
    assert found.keys() >= {"Linux", "root", *packages, *(each.program for each in on_disk)}
    assert {"power cuts, --fs ext4", "power cuts, --fs posix"} <= found.keys()
    assert all(finding.detail for finding in found.values())


def test_only_python_and_linux_are_needed() -> None:
    """Python and Linux suffice to crash something."""
    assert {finding.what for finding in examine() if finding.needed} == {"Python 3.11 or newer", "Linux"}


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is a command."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    found = {finding.what: finding for finding in examine()}
    assert not found["mkfs.xfs"].well
    assert found["mkfs.xfs"].detail == "missing; run: sudo apt-get install xfsprogs"
