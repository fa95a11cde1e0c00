"""A system that recovered is resumed, started again and killed again: it keeps its promises, or the verdict says so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from crashmatrix.reports import ScenarioResult, Verdict
from crashmatrix.reports.findings import group
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.experiment import StoredRun
from crashmatrix.scenarios.judging.checker import Checker
from crashmatrix.scenarios.kill import second_lives
from crashmatrix.scenarios.kill.experiment import KILL, KillExperiment
from crashmatrix.scenarios.kill.plan import END, RESUMED, CrashPath, parse_id
from tests.scenarios.experiments import kill_of, run_kill

TOYS = "tests.scenarios.second_life_systems"

pytestmark = pytest.mark.experiment

VERDICTS = [
    ("GoesOn", {"safe"}, ""),
    ("FillsUp", {"safe"}, ""),
    ("TwoHalves", {"safe", "loses", "hole"}, "after it was resumed: acknowledged, but gone: 6 (of "),
    ("TwoHalvesAgain", {"safe", "loses", "hole"}, "after it was resumed: acknowledged, but gone: "),
    ("OwnContract", {"safe", "loses"}, "after it was resumed: gone: [6]"),
    ("IdsTwice", {"safe", "loses"}, "after it was resumed: acknowledged, but gone: "),
    ("Trips", {"safe", "cannot-open"}, "it could not be resumed after recovery: resume raised FileExistsError"),
    ("MovesWhenResumed", {"safe", "loses"}, "after it was resumed: acknowledged, but gone: 0"),
    (
        "Refuses",
        {"safe", "cannot-open"},
        "it could not be resumed after recovery: resume raised ValueError: ROOT/data is full",
    ),
    ("StoresNothing", {"unknown"}, "resume acknowledged nothing after any crash"),
    ("AcknowledgesNothing", {"unknown"}, "resume attempted items and acknowledged none after any crash"),
    ("StoresAgain", {"safe", "unknown"}, "resume attempted what recovery had returned before: 0; store new items"),
]


def run(toy: str, **changes: object) -> KillExperiment:
    return run_kill(f"{TOYS}:{toy}", **changes)  # type: ignore[arg-type]


def lives(experiment: KillExperiment) -> tuple[list[ScenarioResult], list[ScenarioResult]]:
    """The results of first lives, and of second ones."""
    resumed = [result for result in experiment.ordered() if RESUMED in parse_id(result.id)]
    return [result for result in experiment.ordered() if result not in resumed], resumed


@contextmanager
def checker_of(plan: Plan) -> Iterator[Checker]:
    with workbench(plan) as (checker, _):
        yield checker


@pytest.mark.daily(3)
@pytest.mark.parametrize(("toy", "expected", "words"), VERDICTS)
def test_verdicts(toy: str, expected: set[str], words: str) -> None:
    """Every toy gets the verdicts that its second life deserves, in words that name it; its first life is safe."""
    first, resumed = lives(run(toy))
    assert {result.verdict.value for result in first} == {"safe"}
    found = {result.verdict.value for result in resumed}
    assert found <= expected
    assert bool(found - {"safe"}) == bool(expected - {"safe"})  # Which crashes of a second life are judged is drawn.
    wrong = [result.explanation for result in resumed if result.verdict is not Verdict.SAFE]
    assert any(text.startswith(words) for text in wrong) if words else not wrong


@pytest.mark.daily(3)
@pytest.mark.parametrize(
    ("toy", "words"),
    [
        ("Retries", ""),
        ("RetriesTwice", "after it was resumed: came back more than once, though its request was retried: 0"),
        ("DropsRetries", "after it was resumed: acknowledged, but gone: "),
    ],
)
def test_a_client_that_retries(toy: str, words: str) -> None:
    """It sends a request again, and the store holds it once: not twice, and not only the note of it."""
    first, resumed = lives(run_kill(f"tests.scenarios.retrying_systems:{toy}"))
    assert {result.verdict.value for result in first} == {"safe"}
    wrong = [result.explanation for result in resumed if result.verdict is not Verdict.SAFE]
    assert any(text.startswith(words) for text in wrong) if words else resumed and not wrong


def test_a_resumption_that_hangs_is_a_verdict() -> None:
    """A `resume` that never ends is stopped at its time limit, and called hanging."""
    experiment = run("HangsResumed", budget=1)
    _, resumed = lives(experiment)
    assert experiment.checker.patience.learnt.hung_resumed  # The next ones would get less.
    assert {(result.verdict, result.explanation) for result in resumed if result.verdict.broken} == {
        (
            Verdict.HANGS,
            "when it was resumed: resume was still running at its time limit (8 s, 10 times seconds_max, or less once one has "
            "hung for all of it)",
        )
    }


def test_what_was_done_is_said() -> None:
    """Notes and details say in how many recovered folders the system was resumed, and in how many nothing was stored."""
    experiment = run("FillsUp")
    details = experiment.details
    assert details["resumed"] == details["resumable"] > 2 and details["kills_after_resuming"] > 2
    (note,) = [note for note in details["notes"] if note.startswith("after recovery, the system was resumed in ")]
    assert "; in 1 of these, resume acknowledged nothing; " in note


def test_a_system_that_cannot_go_on_is_judged_as_ever() -> None:
    """Without `resume`, there is no second life, and no word of one."""
    plan = Plan(target="tests.scenarios.toy_systems:Store")
    with workbench(plan) as (checker, _):
        experiment = kill_of(plan, checker)
        experiment.run()
    assert "resumed" not in experiment.details
    assert not lives(experiment)[1] and not any("resumed" in note for note in experiment.details["notes"])


def test_a_share_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a large run some folders are gone on from, others with another seed; the note says how many."""
    monkeypatch.setattr(second_lives, "LIVES_MIN", 3)
    monkeypatch.setattr(second_lives, "LIVES_SHARE", 0.0)
    runs = [run("GoesOn", seed=seed, budget=100, real_kills=0) for seed in (1, 1, 2)]
    ids = [{r.id for r in lives(each)[1] if parse_id(r.id)[-1] == END} for each in runs]
    assert len(ids[0]) == 3 and ids[0] == ids[1] != ids[2]
    assert any("resumed in 3 of 7 distinct recovered folders" in note for note in runs[0].details["notes"])


def test_a_folder_unlike_the_others_is_gone_on_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that only a crash at one place of many leaves is looked into, however few second lives there are."""
    monkeypatch.setattr(second_lives, "LIVES_MIN", 4)
    monkeypatch.setattr(second_lives, "LIVES_SHARE", 0.0)
    experiment = run("LockStays", real_kills=0, depth_max=0)
    _, resumed = lives(experiment)
    assert experiment.details["resumable"] > 25 and experiment.details["resumed"] == 4
    assert any(result.verdict is Verdict.CANNOT_OPEN for result in resumed)


def test_a_second_life_after_a_late_crash_is_crashed() -> None:
    """One of the second lives that are crashed at their hits began with as many promises as any."""
    experiment = run("GoesOn", real_kills=0)
    paths = [parse_id(result.id) for result in lives(experiment)[1]]
    ends = {path[: path.index(RESUMED)] for path in paths if path[-1] == END}
    crashed = {path[: path.index(RESUMED)] for path in paths if path[-1] != END}

    def promised(path: CrashPath) -> int:
        return len(experiment.states[path].promises.events)

    assert 1 < len(crashed) < len(ends)
    assert max(map(promised, crashed)) == max(map(promised, ends))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_crash_within_an_item_of_a_second_life_is_found(seed: int) -> None:
    """In a file of one size, a torn write over the newest copy shows in some second lives only, at one place of each."""
    wrong = run("TakesTurns", seed=seed, real_kills=0, depth_max=0)
    assert {result.verdict.broken for result in lives(wrong)[0]} == {False}
    assert any(result.verdict.broken for result in lives(wrong)[1])


def test_a_small_budget_watches_few_second_lives() -> None:
    """More of the budget goes into more lives that are crashed, and into more crashes in them; a right store is safe in all."""
    runs = [run("TakesTurnsRightly", budget=budget, real_kills=0, depth_max=0) for budget in (100, 2_000)]
    assert {result.verdict for each in runs for result in each.ordered()} == {Verdict.SAFE}
    kills = [[parse_id(r.id) for r in lives(each)[1] if parse_id(r.id)[-1] != END] for each in runs]
    watched = [len({path[: path.index(RESUMED)] for path in each}) for each in kills]
    assert watched[0] < watched[1]
    assert runs[0].details["kills_after_resuming"] == 12 < runs[1].details["kills_after_resuming"] <= 30


def test_second_lives_are_findings_of_their_own() -> None:
    """The finding names the second life: how it came about, what was owed, what came back; real kills agree."""
    experiment = run("TwoHalves")
    found = [each for each in group(experiment.ordered()) if each.finding.verdict.broken]
    assert all(RESUMED in parse_id(result.id) for each in found for result in each.results)
    explained, _ = experiment.explain()
    text = " ".join(explained[0].explanation)
    assert explained[0].cause == "the system does not go on rightly from what recovery left"
    assert "it recovered, was resumed, and was " in text
    assert re.search(r"Items there when it was resumed: \d; acknowledged since: \d; came back: \d", text)
    assert "the system is resumed" in " ".join(event.text for event in explained[0].timeline)
    assert experiment.details["killed_for_real"] == experiment.details["agreed_with_snapshot"]


def test_a_second_life_is_replayed(tmp_path: Path) -> None:
    """A kill, a recovery, a resumption and another kill happen again by the scenario's id, for real."""
    plan = Plan(target=f"{TOYS}:TwoHalves")
    for name, verdict in [
        ("kill:toy.put.between_halves@1+workload.resumed@1+workload.end@1", Verdict.HOLE),
        ("kill:toy.put.between_halves@1+workload.resumed@1+journal.after_ack@1", Verdict.LOSES),
        ("kill:toy.put.after_write@1+workload.resumed@1+workload.end@1", Verdict.SAFE),
    ]:
        scenario = KILL.scenario(name, StoredRun(plan.experiment_options))
        keep = tmp_path / name.replace(":", "_")
        assert scenario.replay(lambda: checker_of(plan), keep).verdict is verdict
        assert (keep / "resumed-journal").read_text().startswith("attempt 6\nack 6\n")
        assert (keep / "journal").read_text().startswith("attempt 0\n")


def test_a_search_that_finds_nothing_kills_second_lives_for_real() -> None:
    """Every scenario of a search in a right store can be killed for real, those of second lives, too."""
    plan = Plan(target=f"{TOYS}:GoesOn", budget=8)
    with workbench(plan) as (checker, _):
        options = replace(plan.experiment_options, until_broken=True)
        experiment = KillExperiment(checker, options, sample_min=1_000)
        experiment.run()
    killed = [result for result in experiment.ordered() if result.method == "sigkill"]
    assert any("workload.resumed" in result.id for result in killed)
    assert experiment.confirmed and {result.verdict for result in experiment.ordered()} == {Verdict.SAFE}


def test_a_bug_that_only_a_second_life_shows_is_searched_for() -> None:
    """A run that stops at the first broken promise finds it, and stops."""
    plan = Plan(target=f"{TOYS}:TwoHalves")
    with workbench(plan) as (checker, _):
        experiment = KILL.experiment(checker, replace(plan.experiment_options, until_broken=True))
        experiment.run()
    assert any(result.verdict.broken for result in experiment.ordered()) and experiment.confirmed
    assert not any(result.depth for result in lives(experiment)[0])
