"""Each kind of nudge is there for a reason: it exposes a store made for it."""

from __future__ import annotations

import pytest

from tests.scenarios.nudge_systems import EXPOSED_BY, exposed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("disk"), pytest.mark.experiment]

RECORDINGS_MAX = 4
"""Kernels write at times of their own: under load one recording may miss what the next one shows."""


@pytest.mark.parametrize("kind", EXPOSED_BY)
def test_a_kind_exposes_its_store(kind: str) -> None:
    """The store breaks under this kind. `python -m benchmarks.nudges` counts the others, since a kernel may do the same."""
    target = f"tests.scenarios.nudge_systems:{EXPOSED_BY[kind].__name__}"
    assert any(exposed(target, kind, seed) for seed in range(RECORDINGS_MAX))


def test_a_storm_exposes_a_store() -> None:
    """A file replaced without any sync is lost under every kind, but comes back as zeros only in a storm of commits."""
    assert any("corrupt" in exposed("replace:none", "storm", seed) for seed in range(RECORDINGS_MAX))
