"""Fixtures of several modules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.reference_wal.support import at_each_sync


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths that are synced; each is really synced as well."""
    paths: list[str] = []
    at_each_sync(monkeypatch, lambda path: paths.append(str(path)))
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


@pytest.fixture
def no_umask() -> Iterator[None]:
    """The process leaves all permissions that a file is made with."""
    mask = os.umask(0)
    yield
    os.umask(mask)
