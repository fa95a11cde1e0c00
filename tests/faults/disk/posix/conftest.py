"""Skips what needs FUSE where it is missing, with the reason; in continuous integration that is a failure."""

import os

import pytest

from crashmatrix.faults.disk import requirements


@pytest.fixture
def fuse() -> None:
    """Request it in each test that records or lays out a tree."""
    missing = requirements(("posix",))
    if missing and os.environ.get("CI") == "true":
        pytest.fail("; ".join(map(str, missing)))
    if missing:
        pytest.skip("; ".join(map(str, missing)))
