"""Fixtures of several modules."""

from __future__ import annotations

import os
from typing import Any

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


@pytest.fixture
def synced_and_removed(synced: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that are synced and, as ``{path} gone``, those that are unlinked, in this order."""
    unlink = os.unlink

    def noted(path: Any, *given: Any, **options: Any) -> None:
        unlink(path, *given, **options)
        synced.append(f"{path} gone")

    monkeypatch.setattr(os, "unlink", noted)
    return synced
