"""Several targets: a run of each, in turn. Their reports lie in one directory (`crashmatrix.reports.several`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crashmatrix.reports import ReportError
from crashmatrix.reports.several.collection import Collection
from crashmatrix.reports.several.pages import write_targets
from crashmatrix.reports.several.targets import TARGETS, TargetRun, Targets
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.errors import ScenarioError

__all__ = ["Several"]

_LEAST_SECONDS = 1.0


@dataclass
class Several:
    """Runs a plan for each of several targets.

    Attributes:
        plans: what differs is the target; a time limit is shared by all of them.
        directory: gets a report for each.
        run_one: runs a campaign, and shows it.
    """

    plans: list[Plan]
    directory: Path
    run_one: Callable[[Campaign], None]

    def run(self) -> Targets:
        """Run all; a target that cannot be run is unknown, and the others are run.

        Raises:
            crashmatrix.reports.ReportError: the directory cannot be used.
            UsageError, EnvironmentLacks: none can be run, all for the same reason.
            KeyboardInterrupt: the page has what was found so far.
        """
        begun = time.monotonic()
        collection = Collection(self.directory, TARGETS)
        errors = list[ScenarioError | ReportError]()
        try:
            collection.load(
                Targets
            )  # Raises, if the file by which the directory is known as ours is another program's.
            targets = Targets.named(plan.name for plan in self.plans)
            write_targets(targets, collection)
            for number, (plan, line) in enumerate(zip(self.plans, targets.runs, strict=True)):
                try:
                    errors += self._run(plan, line, len(self.plans) - number, begun)
                finally:
                    write_targets(targets, collection)
            collection.finished()
        finally:
            collection.close()
        if len(errors) == len(self.plans) and len(set(map(str, errors))) == 1:
            raise errors[0]
        return targets

    def _run(self, plan: Plan, line: TargetRun, left: int, begun: float) -> Sequence[ScenarioError | ReportError]:
        """Run a target, fill its line, and return why it could not be run, or not to its end."""
        seconds = plan.seconds_max
        if seconds is not None:
            seconds = max(_LEAST_SECONDS, (seconds - (time.monotonic() - begun)) / left)
        campaign = Campaign(replace(plan, report=self.directory / line.report, seconds_max=seconds))
        why = ""
        try:
            self.run_one(campaign)
        except (ScenarioError, ReportError) as error:
            why = str(error)
            return [error]
        finally:
            line.ran(campaign.summary, campaign.results, why)
        return []
