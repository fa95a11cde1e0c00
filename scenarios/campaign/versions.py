"""The versions of everything that takes part in a run, for the report."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib import metadata

__all__ = ["PACKAGES", "versions"]

PACKAGES = ("crashmatrix", "deltalake", "duckdb", "pyarrow")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python, the kernel and packages, by name."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
