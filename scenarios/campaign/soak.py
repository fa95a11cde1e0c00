"""Soaking: one seed after another until the time is up. Equal findings of several seeds are one finding.

    soak.json     what was found so far, and which seed is next; replaced after each seed, by rename, synced
    seed-N/       the report of a seed with a finding that no seed before it had; or of the seed that is running

A restart in the same folder goes on: with the seed that was running (`--resume`), and with the time that was left. Time counts
while a soak runs, over all its restarts; what a killed soak spent on its last seed does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from crashmatrix.faults.disk.linux.removal import remove_tree
from crashmatrix.reports import RunSummary, ScenarioResult, Verdict, worst
from crashmatrix.reports.findings import group
from crashmatrix.reports.formats.text import counted
from crashmatrix.reports.ownership import is_report
from crashmatrix.reports.several.collection import Collection
from crashmatrix.reports.store import REPORT_NAMES
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.resume import described, difference
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import Listener

__all__ = ["Soak", "SoakFinding", "SoakState"]

_STATE = "soak.json"
_OF_A_SEED = ("seed", "shard")


class SoakFinding(msgspec.Struct, kw_only=True):
    """A kind of scenario that is not safe: the same in all its seeds. ``report`` is that of the first of them."""

    verdict: Verdict
    title: str
    cause: str
    replay: str
    report: str
    scenarios: int
    seeds: list[int]


class SoakState(msgspec.Struct, kw_only=True):
    """The findings of a soak so far. ``plan`` is what must be the same after a restart, and ``seed`` the next seed.

    Only seeds that came to their end count as done, with their scenarios; ``begun`` says that the next one was begun.
    """

    plan: dict[str, Any]
    seed: int
    seconds: float = 0.0
    seeds_done: int = 0
    begun: bool = False
    scenarios: int = 0
    findings: dict[str, SoakFinding] = {}

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; unknown if no seed was run to its end and nothing was found."""
        found = [finding.verdict for finding in self.findings.values()]
        return worst([*found, Verdict.SAFE]) if self.seeds_done or found else Verdict.UNKNOWN


@dataclass
class Soak:
    """Runs a plan with new seeds. ``plan.report`` is the folder.

    Attributes:
        seconds: how long, over all restarts.
        said: called with a line after each seed.
    """

    plan: Plan
    seconds: float
    said: Callable[[str], None]
    listener: Callable[[], Listener] = Listener

    def run(self) -> SoakState:
        """Run until the time is up, or with ``plan.until_broken`` to the first broken promise.

        Raises:
            UsageError, EnvironmentLacks, crashmatrix.reports.ReportError: the target or the folder cannot be used.
            KeyboardInterrupt: the seed that was running will go on after a restart.
        """
        directory = Collection(self.plan.report, _STATE)
        try:
            self.state = self._begin(directory)
            self._tidy(directory)
            while (left := self.seconds - self.state.seconds) > 0 and not self._found_one:
                self._run_seed(directory, left)
            directory.finished()
        finally:
            directory.close()
        return self.state

    @property
    def _found_one(self) -> bool:
        return self.plan.until_broken and self.state.verdict.broken

    def _begin(self, directory: Collection) -> SoakState:
        mine = {name: value for name, value in described(self.plan).items() if name not in _OF_A_SEED}
        state = directory.load(SoakState)
        if state is None:
            state = SoakState(plan=mine, seed=self.plan.seed)
            directory.save(state)
            return state
        if differs := difference(state.plan, mine):
            raise UsageError(
                f"the soak in {directory.directory} differs in {differs}; go on with its own options, or name a new directory "
                "with --report"
            )
        return state

    def _run_seed(self, directory: Collection, left: float) -> None:
        state, begun = self.state, time.monotonic()
        report = self.plan.report / f"seed-{state.seed}"
        campaign = Campaign(
            replace(self.plan, seed=state.seed, report=report, resume=True, seconds_max=max(1.0, left)), self.listener()
        )
        try:
            campaign.run()
        except UsageError:
            if not state.seeds_done or time.monotonic() - begun < left:
                raise  # Else there was no time left to set the target up once more.
        new = self._fold(campaign.summary, campaign.results, report)
        state.seconds += time.monotonic() - begun
        state.begun = campaign.summary.interrupted and not self._found_one
        if state.begun:  # It had all the time that was left.
            state.seconds = max(state.seconds, self.seconds)
        else:
            state.seed, state.seeds_done = state.seed + 1, state.seeds_done + 1
            state.scenarios += len(campaign.results)
        directory.save(state)
        self._tidy(directory)
        so_far = "not finished" if state.begun else campaign.summary.verdict
        self.said(
            f"seed {campaign.plan.seed}: {so_far}, {counted(len(campaign.results), 'scenario')}, "
            f"{counted(len(new), 'new finding')}, {len(state.findings):,} in all; "
            f"{state.seconds / 3600:.2f} of {self.seconds / 3600:g} h"
        )

    def _tidy(self, directory: Collection) -> None:
        """Remove the reports of seeds that are done and show nothing new. Anything else with such a name is not ours."""
        kept = {finding.report for finding in self.state.findings.values()}
        done = {f"seed-{seed}" for seed in range(self.state.seed - self.state.seeds_done, self.state.seed)}
        for name in directory.names():
            if name in done - kept and is_report(self.plan.report / name, REPORT_NAMES):
                remove_tree(self.plan.report / name)

    def _fold(self, summary: RunSummary, results: list[ScenarioResult], report: Path) -> list[str]:
        """Add a seed's findings; returns the ids of the new ones."""
        new = []
        for found in group(results, summary.findings):
            finding = found.finding
            known = self.state.findings.get(finding.id)
            if known is None:
                new.append(finding.id)
                self.state.findings[finding.id] = SoakFinding(
                    verdict=finding.verdict, title=finding.title, cause=finding.cause, replay=finding.replay,
                    report=report.name, scenarios=finding.count, seeds=[summary.seed],
                )  # fmt: skip
            elif summary.seed not in known.seeds:
                known.seeds.append(summary.seed)
                known.scenarios += finding.count
        return new
