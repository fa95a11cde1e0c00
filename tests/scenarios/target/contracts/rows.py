"""Rows of the tables of contracts: a journal, what recovery returned, and how the verdict's words begin."""

from __future__ import annotations

from collections.abc import Sequence

from crashmatrix import Contract, Item, Promises

__all__ = ["found_in"]


def found_in(contract: Contract, journal: str, recovered: Sequence[Item], expected: str) -> list[str]:
    """Return what a contract finds, each as far as it is expected. The journal's lines are separated by ``|``."""
    promises = Promises.parse(f"{journal}\n".replace("|", "\n").lstrip().encode())
    found = [f"{one.verdict}: {one.explanation}" for one in contract.judge(promises, recovered)]
    return [one[: len(expected)] for one in found]
