"""The account of one recording's judges together."""

from __future__ import annotations

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.recorded.state_verdict import TIMES_DIFFER, Judged, Share, account_of, disagreement


def test_account_of() -> None:
    """The account has one judge's enumeration and all judges' counts; seconds are summed by name."""
    one = Share(cuts=9, pending_most=4, possible_log2=7.5, choices=30, outcomes=50, exhaustive=True, enumerated=500,
                distinct_images=300, judged=50, repeats=2, mounted=20,
                distinct_folders=10, distinct_recovered=5, second_recoveries=3,
                second_lives=2, seconds={"all": 1.004, "check": 0.5})  # fmt: skip
    other = Share(cuts=8, outcomes=40, enumerated=100, distinct_images=90, judged=40, repeats=1, mounted=10, distinct_folders=7,
                  distinct_recovered=4, second_recoveries=1, seconds={"all": 2.0, "mount": 0.25})  # fmt: skip
    assert account_of([other, one]) == {
        "cuts": 9, "pending_most": 4, "choices": 30, "possible_log2": 7.5, "outcomes": 90, "exhaustive": False,
        "enumerated": 500, "distinct_images": 300,
        "distinct_folders": 17, "distinct_recovered": 9, "judged": 90, "repeats": 3, "mounted": 30,
        "second_recoveries": 4, "second_lives": 2,
        "seconds": {"all": 3.0, "check": 0.5, "mount": 0.25},
    }  # fmt: skip


def test_a_recording_is_exhausted_if_each_judge_says_so() -> None:
    """Every outcome was judged if every judge came to the end of its part, and there was a judge."""
    done, not_done = Share(exhaustive=True), Share()
    shares: tuple[list[Share], ...] = ([done, done], [done, not_done], [])
    assert [account_of(each)["exhaustive"] for each in shares] == [True, False, False]


def test_no_judge_ended_in_order() -> None:
    """Without a judge that ended in order, the counts are 0."""
    account = account_of([])
    assert (account["judged"], account["enumerated"], account["seconds"]) == (0, 0, {})


def test_two_verdicts() -> None:
    """A state that got two verdicts is unknown; both are in its explanation, and the cause that times may be, with the remedy."""
    found, again = Judged("8-all", Verdict.LOSES, "gone: 1"), Judged("8-all", Verdict.SAFE)
    both = "loses when judged first (gone: 1), safe when judged again"
    assert disagreement(found, again) == Judged("8-all", Verdict.UNKNOWN, both)
    with_hint = disagreement(found, again, TIMES_DIFFER).explanation
    assert with_hint.startswith(f"{both}; if recovery reads times of files: ")
    assert "--fs posix" in with_hint
