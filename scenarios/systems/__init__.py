"""The systems that come with crashmatrix, by target name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["BUILT_IN", "BuiltIn"]


@dataclass(frozen=True)
class BuiltIn:
    """A target's name resolved: ``place`` is ``module:Class``, ``options`` go to its constructor."""

    place: str
    about: str
    options: dict[str, Any] = field(default_factory=dict)


BUILT_IN = {
    "reference": BuiltIn(
        "scenarios.systems.reference:ReferenceEngine", "the reference log and engine, on real temperatures"
    ),
}
