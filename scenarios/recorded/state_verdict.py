"""The answers of the power experiment's judges: a crash state's verdict, and an account of what they did."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.judging.patience import NOTHING_LEARNT, Learnt

__all__ = [
    "REPEATED",
    "TIMES_DIFFER",
    "VERIFIED",
    "Check",
    "Explored",
    "Judged",
    "Safe",
    "Share",
    "account_of",
    "disagreement",
    "for_",
    "named",
]

VERIFIED, REPEATED = "verified", "repeated"

Check = tuple[str, int]
"""A further check: the system checked itself, or recovery was repeated. After so many journal lines, or `for_` a folder."""


def for_(check: str, what: str) -> Check:
    """A check that was made of something, whatever had been promised then: a folder, or a kind of change."""
    return f"{check} {what}", 0


_MORE = ":"


def named(digest: str, more: str) -> str:
    """The name of a folder that must differ from those of other folders with the same digest."""
    return f"{digest}{_MORE}{more}"


@dataclass(frozen=True)
class Judged:
    """The verdict of a crash state. ``state`` is its id, ``digest`` names the folder that was mounted."""

    state: str
    verdict: Verdict
    explanation: str = ""
    digest: str = ""
    events: int = 0
    differs: bool = True
    """Whether the mounted folder differs from the one after the orderly end."""
    recovered: str = ""
    """Names the folder that recovery left."""
    kind: tuple[str, str] = ("", "")
    """The shape of that folder (`Tree.shape`), and which kinds of paths the recovery changed; that is empty if none."""

    repeats: bool = False
    """Whether an earlier recording had this folder, after the same promises: it was not recovered again, and does not count."""

    @property
    def torn(self) -> bool:
        """Whether the disk had some of the writes since the last flush and not others."""
        return not self.state.endswith(("-all", "-none"))


Safe = tuple[str, tuple[str, str]]
"""The name of the folder that recovery left, and its kind, as in `Judged`."""

TIMES_DIFFER = (
    "; if recovery reads times of files: folders that differ in times only are judged as one here, so keep them in the content, "
    "or use --fs posix, which tells times that were set apart"
)
"""A possible cause of two verdicts on a real filesystem, and the remedy."""


def disagreement(found: Judged, again: Judged, hint: str = "") -> Judged:
    """The verdict of a state that got two; ``hint`` says more of why."""
    first, then = (
        f"{each.verdict} when judged {when}" + (f" ({each.explanation})" if each.explanation else "")
        for each, when in ((found, "first"), (again, "again"))
    )
    return replace(again, verdict=Verdict.UNKNOWN, explanation=f"{first}, {then}{hint}")


@dataclass
class Share:
    """A judge's account: the states it enumerated and judged, and its seconds by activity."""

    cuts: int = 0
    pending_most: int = 0
    possible_log2: float = 0.0
    choices: int = 0
    outcomes: int = 0
    """How many distinct outcomes were judged, with the promises before them."""
    exhaustive: bool = False
    """Whether this judge's part of the trace has no other outcomes."""
    enumerated: int = 0
    distinct_images: int = 0
    distinct_folders: int = 0
    distinct_recovered: int = 0
    judged: int = 0
    repeats: int = 0
    """How many further states repeat what an earlier recording had (`Judged.repeats`)."""
    safe: dict[str, Safe] = field(default_factory=dict)
    """The folders found safe, with the promises made by then, as one key; and the results of their recoveries."""
    mounted: int = 0
    verified: set[Check] = field(default_factory=set)
    """The further checks that were passed."""
    second_recoveries: int = 0
    second_lives: int = 0
    promised: int = 0
    """How many second lives acknowledged something."""
    learnt: Learnt = NOTHING_LEARNT
    """How long recoveries took."""
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Explored:
    """A recording's states, judged, with the accounts of its judges; for a run that is resumed."""

    judged: tuple[Judged, ...]
    shares: tuple[Share, ...]
    seconds: float


def account_of(shares: list[Share]) -> dict[str, Any]:
    """Return what ``summary.json`` says of one recording's judges together."""
    first = max(shares, key=lambda share: share.enumerated, default=Share())
    names = sorted({name for share in shares for name in share.seconds})
    return {
        "cuts": first.cuts,
        "pending_most": first.pending_most,
        "choices": first.choices,
        "possible_log2": first.possible_log2,
        "outcomes": sum(share.outcomes for share in shares),
        "exhaustive": bool(shares) and all(share.exhaustive for share in shares),
        "enumerated": first.enumerated,
        "distinct_images": first.distinct_images,
        "distinct_folders": sum(share.distinct_folders for share in shares),
        "distinct_recovered": sum(share.distinct_recovered for share in shares),
        "judged": sum(share.judged for share in shares),
        "repeats": sum(share.repeats for share in shares),
        "mounted": sum(share.mounted for share in shares),
        "second_recoveries": sum(share.second_recoveries for share in shares),
        "second_lives": sum(share.second_lives for share in shares),
        "seconds": {name: round(sum(share.seconds.get(name, 0.0) for share in shares), 2) for name in names},
    }
