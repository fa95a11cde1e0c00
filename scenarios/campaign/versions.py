"""The versions of everything that takes part in a run, for the report."""

from __future__ import annotations

import platform
from importlib import metadata

__all__ = ["versions"]

_PACKAGES = ("crashmatrix", "deltalake", "duckdb", "pyarrow")


def versions() -> dict[str, str]:
    """Return the versions of Python, the kernel and packages, by name."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
