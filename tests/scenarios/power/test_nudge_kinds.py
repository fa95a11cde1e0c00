"""Each kind of nudge is there for a reason: it exposes a store that the others leave unsuspected."""

from __future__ import annotations

import pytest

from tests.scenarios.nudge_systems import EXPOSED_BY, exposed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("disk")]

RECORDINGS_MAX = 4
"""A kernel is no clockwork: under load one recording may miss what the next one shows."""

NEAREST = {"commit": "mixed", "writeback": "mixed", "mixed": "commit", "async": "mixed"}
"""For each kind, the one most like it, which must not expose the same store."""


@pytest.mark.parametrize("kind", EXPOSED_BY)
def test_a_kind_exposes_what_others_miss(kind: str) -> None:
    """The store breaks under this kind, and not under the nearest other one."""
    target = f"tests.scenarios.nudge_systems:{EXPOSED_BY[kind].__name__}"
    assert any(exposed(target, kind, seed) for seed in range(RECORDINGS_MAX))
    assert not exposed(target, NEAREST[kind], seed=0)


def test_a_storm_exposes_what_others_miss() -> None:
    """A file replaced without any sync is lost under every kind, but comes back as zeros only in a storm of commits."""
    assert any("corrupt" in exposed("replace:none", "storm", seed) for seed in range(RECORDINGS_MAX))
    assert "corrupt" not in exposed("replace:none", "async", seed=0)
