"""The account of one recording's judges together."""

from __future__ import annotations

from crashmatrix.scenarios.power.state_verdict import Share, account_of


def test_account_of() -> None:
    """The account has one judge's enumeration and all judges' counts; seconds are summed by name."""
    one = Share(cuts=9, pending_most=4, possible_log2=7.5, enumerated=500, distinct_images=300, judged=50, mounted=20,
                distinct_folders=10, distinct_recovered=5, seconds={"all": 1.004, "check": 0.5})  # fmt: skip
    other = Share(cuts=8, enumerated=100, distinct_images=90, judged=40, mounted=10, distinct_folders=7,
                  distinct_recovered=4, seconds={"all": 2.0, "mount": 0.25})  # fmt: skip
    assert account_of([other, one]) == {
        "cuts": 9, "pending_most": 4, "possible_log2": 7.5, "enumerated": 500, "distinct_images": 300,
        "distinct_folders": 17, "distinct_recovered": 9, "judged": 90, "mounted": 30,
        "seconds": {"all": 3.0, "check": 0.5, "mount": 0.25},
    }  # fmt: skip


def test_no_judge_ended_in_order() -> None:
    """Without a judge that ended in order, the counts are 0."""
    account = account_of([])
    assert (account["judged"], account["enumerated"], account["seconds"]) == (0, 0, {})
