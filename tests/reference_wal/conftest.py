"""Fixtures of several modules."""

from __future__ import annotations

import os

import pytest

from tests.reference_wal.support import opened_as


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that are synced; each is really synced as well."""
    paths: list[str] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        paths.append(str(opened_as(fd)))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return paths
