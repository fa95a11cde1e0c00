"""Which crash state of a recording is recovered in a recording of its own, so that power can fail during that recovery."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection

from crashmatrix.scenarios.recorded.state_verdict import Judged

__all__ = ["Kind", "state_to_recover"]

Kind = tuple[str, bool]
"""Which kinds of paths a recovery changed, and whether the disk had some of the last writes and not others (`Judged.torn`)."""


def state_to_recover(judged: Collection[Judged], chosen: Counter[Kind], seed: str) -> str:
    """Return a safe state, and count its kind in ``chosen``; empty if there is none.

    Those with much to lose come first, of these the ones on which recovery changed something. Most recoveries do next to nothing,
    such as removing a torn journal. So a kind that was chosen less often than others, in any recording, comes before them.
    """
    safe = [each for each in judged if each.recovered and each.differs]
    promised = sorted(each.events for each in safe)
    rich = [each for each in safe if each.events >= promised[len(safe) // 2]]
    kinds: dict[Kind, list[str]] = {}
    for each in [each for each in rich if each.kind[1]] or rich:
        kinds.setdefault((each.kind[1], each.torn), []).append(each.state)
    if not kinds:
        return ""
    draw = random.Random(seed)
    fewest = min(chosen[kind] for kind in kinds)
    kind = draw.choice(sorted(kind for kind in kinds if chosen[kind] == fewest))
    chosen[kind] += 1
    return draw.choice(sorted(kinds[kind]))
