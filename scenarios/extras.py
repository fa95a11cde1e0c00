"""Packages that only some targets need, and the extra that installs each.

    with extra_installed("target reference"):
        import pyarrow          # missing: one line that says how to install it

The core runs without them: all experiments, the reports and the pytest plugin. `pyproject.toml` has the same table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crashmatrix.scenarios.errors import UsageError

__all__ = ["EXTRAS", "extra_installed", "install_command"]

EXTRAS = {
    "reference": ("deltalake", "duckdb", "pyarrow"),
    "lmdb": ("lmdb",),
    "hypothesis": ("hypothesis",),
    "cluster": ("dask", "distributed"),
}
"""The packages of each extra, by the names they are imported by."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra, from an index and from a clone."""
    return f"pip install 'crashmatrix[{extra}]', or in a clone of the repository: pip install '.[{extra}]'"


@contextmanager
def extra_installed(what: str) -> Iterator[None]:
    """Import something that needs an extra.

    Args:
        what: who needs it, as the message names it: ``target reference``.

    Raises:
        UsageError: a package of an extra is missing; it says how to install it. Other failed imports pass.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = next((extra for extra, packages in EXTRAS.items() if package in packages), None)
        if extra is None:
            raise
        raise UsageError(f"{what} needs the package {package}; run: {install_command(extra)}") from error
