"""Judged crash states as results of the power experiment, and the ids of its scenarios."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from crashmatrix.reports import ScenarioResult
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.judging.words import besides_the_contract, counted
from crashmatrix.scenarios.recorded.recording import Recording
from crashmatrix.scenarios.recorded.state_verdict import VERIFIED, Check, Judged, for_

__all__ = [
    "CLEAN_END",
    "checks_in_words",
    "circumstances",
    "coverage_in_words",
    "nothing_differed",
    "parse_power_id",
    "power_id",
    "recordings_in_words",
    "restarts_in_words",
    "result_of",
]

CLEAN_END = "clean-end"
"""The method of a result whose folder is that of an undisturbed run."""


def power_id(recording: str, state: str) -> str:
    """Return the id of a crash state of a recording: ``power:RECORDING:STATE``."""
    return f"power:{recording}:{state}"


def result_of(recording: Recording, judged: Judged) -> ScenarioResult:
    """The result that a judged crash state of a recording is, without the command that replays it."""
    cut = judged.state.partition("-")[0]
    return ScenarioResult(
        id=power_id(recording.name, judged.state), experiment="power", point=recording.point,
        hit=int(cut) if cut.isdecimal() else 0, depth=1 if recording.of or recording.resumed else 0,
        method="power-cut" if judged.differs else CLEAN_END, fault=judged.state, verdict=judged.verdict,
        explanation=circumstances(recording, judged.explanation), state=judged.digest,
    )  # fmt: skip


def circumstances(recording: Recording, explanation: str) -> str:
    """The explanation, with what happened besides one power cut."""
    if explanation and recording.resumed:
        return f"power went in the second life that began after {recording.resumed}: {explanation}"
    if explanation and recording.of:
        return f"power went again during the recovery from {recording.of[1]}: {explanation}"
    if explanation and recording.killed:
        then = "" if recording.problem else ", then the power went"
        return f"the process was killed {recording.killed} and restarted{then}: {explanation}"
    return explanation


def parse_power_id(text: str) -> tuple[str, str]:
    """Split ``power:RECORDING:STATE``; a recording's name may hold colons. Raises UsageError."""
    kind, _, rest = text.partition(":")
    name, _, state = rest.rpartition(":")
    if kind != "power" or not name or not state:
        raise UsageError(f"{text!r} is not a scenario id; ids read power:RECORDING:STATE, see results.jsonl")
    return name, state


def nothing_differed(account: Mapping[str, Any]) -> str:
    """The reason why a recording says nothing of which no crash state differed, given its account in `summary.json`."""
    reason = "no crash state differed from the clean end"
    if account["exhaustive"]:
        return reason
    judged = account["outcomes"]
    return f"{reason}, but only {judged:,} of its outcomes {'was' if judged == 1 else 'were'} judged; raise --budget"


def _others(count: int) -> str:
    return "the other recording" if count == 1 else f"the other {count:,} recordings"


def recordings_in_words(accounts: Sequence[Mapping[str, Any]]) -> str:
    """Say how many recordings were made, of what, and how many of their states were judged, given their accounts."""
    resumed = sum(bool(account["resumed"]) for account in accounts)
    recoveries = sum(bool(account["recovery_of"]) and not account["resumed"] for account in accounts)
    restarts = sum(bool(account["killed_at"]) for account in accounts)
    images, judged, repeats, mounted = (
        sum(account.get(name, 0) for account in accounts)
        for name in ("distinct_images", "judged", "repeats", "mounted")
    )
    more = f"; {repeats:,} more repeated folders of earlier recordings" if repeats else ""
    traces = len({account["trace"] for account in accounts})
    return (
        f"{counted(len(accounts) - recoveries - resumed, 'recording')} of the workload, {restarts} of them with it killed and "
        f"restarted, and {recoveries} of a recovery; {counted(traces, 'different trace')}; "
        f"{counted(images, 'distinct image')} enumerated, {counted(judged, 'crash state')} judged in {counted(mounted, 'mount')}"
        f"{more}"
    )


def coverage_in_words(accounts: Sequence[Mapping[str, Any]]) -> str:
    """Say how many outcomes were judged of recordings, given their accounts in `summary.json`, and of how many these are all."""
    whole, parts = ([each for each in accounts if each["exhaustive"] is wanted] for wanted in (True, False))
    said, everything = [], "the recording" if len(accounts) == 1 else "these recordings"
    if whole:
        outcomes = sum(account["outcomes"] for account in whole)
        said.append(f"all {outcomes:,} distinct outcomes of {f'{len(whole):,} of ' if parts else ''}{everything}")
    if parts:
        outcomes, choices = (sum(account[field] for account in parts) for field in ("outcomes", "choices"))
        said.append(
            f"{outcomes:,} distinct outcomes of {_others(len(parts)) if whole else everything}, "
            f"in which {choices:,} sectors and other changes could be there or not"
        )
    return f"judged: {' and '.join(said) or 'nothing'}"


def checks_in_words(passed: Iterable[Check], accounts: Sequence[Mapping[str, Any]]) -> str:
    """Say what was checked besides the contract: the checks that passed, and the accounts of recordings in `summary.json`."""
    folders = sum(check.startswith(for_(VERIFIED, "")[0]) for check, _ in passed)
    again = sum(account["second_recoveries"] for account in accounts)
    return besides_the_contract(counted(folders, "recovered folder") if folders else "", again)


def restarts_in_words(made: int, places: int, missed: int) -> str:
    """Say at how many places (see `restarts`) the workload was killed, if not at all; ``missed`` kills came to nothing."""
    if not missed and made >= places:
        return ""
    others = "; a larger --budget and another --seed kill it at others" if made < places else ""
    ended = (
        f"; {counted(missed, 'more time')} it ended before it came there, in another order of its writers"
        if missed
        else ""
    )
    return f"restarts: the workload was killed at {made:,} of {places:,} places{ended}{others}"
