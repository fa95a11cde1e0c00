"""The `power` experiment: the machine dies; all flushed writes survive, and any subset of the others.

    1. the workload runs on a recorded disk under a real filesystem, several times, each with another kind of nudge
       (`faults.disk.nudges`): which writes the kernel makes on its own decides which missing sync shows. In the last
       recordings the process is killed on the way, restarted and, if it can be, resumed (`schedule`, `recording`, `restarts`)
    2. from each trace the crash states are enumerated (`faults.disk.crash_states`), mounted, recovered and judged against
       what had been promised before the cut (`exploring`, `judge`)
    3. a state found bad is judged a second time before it is reported
    4. on one state of each recording, recovery itself is recorded, and the crash states of that trace are judged, too

Traces of one seed differ from run to run, so those with findings are kept in the report directory. A scenario's id names
recording and state; with the kept trace it means the same image, bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    Filesystem,
    InvalidState,
    MountRefused,
    enter_private_namespace,
    load_trace,
)
from crashmatrix.reports import Labels, Verdict
from crashmatrix.reports.folder import copy_file
from crashmatrix.reports.store import TRACES, has_trace
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.experiment import (
    Alternative,
    CrashedFolder,
    CrashPoint,
    ExperimentOptions,
    Explained,
    Listener,
    StoredRun,
    Workbench,
)
from crashmatrix.scenarios.judging.checker import Checked, Checker
from crashmatrix.scenarios.power import judge as power_judge
from crashmatrix.scenarios.power.exploring import PowerExploration
from crashmatrix.scenarios.power.results import circumstances, parse_power_id
from crashmatrix.scenarios.power.rounds import STATES_MAX
from crashmatrix.scenarios.processes.result import Raised, Returned
from crashmatrix.scenarios.recorded.needs import lacking
from crashmatrix.scenarios.recorded.recording import Recording, trace_path

__all__ = ["POWER", "Power", "PowerExperiment", "PowerScenario"]

_SEARCHES = ((500, 30), (4000, 400), (16_000, 400))
"""Crash states to judge, and restarts to record at most, in search of a bug that is known to be there.

A few of each come first, then every place to kill, then many states. There are more restarts than in a run: each is killed
before another sync, and the bug may lie behind any. Each search records anew, for no two traces are the same.
"""


class PowerExperiment(PowerExploration):
    """A power experiment on one target."""

    def explain(self) -> Explained:
        """Explain each kind of broken promise, from the traces that were kept; tries remedies on new recordings."""
        # Here: most runs have nothing to explain.
        from crashmatrix.scenarios.power.explain.findings import PowerExplainer

        explainer = PowerExplainer(self)
        return Explained(explainer.findings(), explainer.notes)

    @property
    def confirmed(self) -> bool:
        """Always: a broken state is judged a second time before it is reported."""
        return True


@dataclass(frozen=True)
class PowerScenario:
    """A crash state of a recording whose trace is in the report directory: the same image, bit for bit."""

    recording: Recording
    state: str

    def replay(self, workbench: Workbench, keep: Path | None) -> Checked:
        """Mount, recover and judge the state; ``keep`` gets ``image``, ``crashed`` and ``journal``."""
        with workbench() as checker:
            copy = checker.folder() / "trace"  # the judge works beside it
            copy_file(self.recording.trace, copy)
            recording = replace(self.recording, trace=copy)
            seconds = 60 + 3 * checker.system.seconds_max
            result = checker.jobs.run(
                power_judge.judge_one, checker.target, recording, self.state, seconds_max=seconds, keep_going=True
            )
            if isinstance(result, Raised) and result.is_a(InvalidState):
                raise UsageError(result.message)
            if not isinstance(result, Returned):
                return Checked(Verdict.UNKNOWN, f"the judge {result}")
            if keep is not None:
                self._keep(checker, recording, keep, seconds)
            return Checked(result.value.verdict, circumstances(self.recording, result.value.explanation))

    def _keep(self, checker: Checker, recording: Recording, keep: Path, seconds: float) -> None:
        keep.mkdir(parents=True)
        kept = checker.jobs.run(power_judge.keep_state, recording, self.state, keep.absolute(), seconds_max=seconds)
        if not isinstance(kept, Returned):
            raise UsageError(f"{keep}: keeping the crashed tree {kept}")

    @contextmanager
    def crashed(self, workbench: Workbench) -> Iterator[CrashedFolder]:
        """Mount the image for the block; it needs no workbench. The calling thread stays in a mount namespace of its own."""
        del workbench
        enter_private_namespace()  # Before the trace is loaded: where there is no root, this takes a process of one thread.
        trace = load_trace(self.recording.trace)
        try:
            state = CrashState.parse(self.state, trace)
            with CrashImages(trace) as images, images.mounted(state) as root:
                filesystem = self.recording.filesystem
                about = f"the {filesystem} that the power cut {self.state} left, before recovery"
                yield CrashedFolder(root, about)
        except InvalidState as error:
            raise UsageError(str(error)) from None
        except MountRefused as error:
            raise EnvironmentLacks(f"this state cannot be mounted: {error}") from None


class Power:
    """The kind of experiment; see `crashmatrix.scenarios.experiment.ExperimentKind`."""

    name = "power"
    dies: Literal["machine"] = "machine"
    default = True
    budget = STATES_MAX
    counts = "crash states"
    modules = (power_judge.__name__,)
    labels = Labels("recording", "cut at write", repeatable=False)

    def lacking(self, options: ExperimentOptions) -> str:
        """Root, FUSE, loop devices or filesystem tools."""
        return lacking(options.filesystems)

    def described(self, options: ExperimentOptions) -> str:
        """Return the name and the filesystems."""
        return f"{self.name} on {', '.join(options.filesystems)}"

    def alternative(self, options: ExperimentOptions) -> Alternative | None:
        """The filesystem `posix`, which needs no root, where this machine can have it."""
        if lacking(["posix"]):
            return None
        return Alternative(replace(options, filesystems=("posix",)), "--fs posix can run here")

    def experiment(
        self, checker: Checker, options: ExperimentOptions, listener: Listener | None = None
    ) -> PowerExperiment:
        """Return the experiment, not yet begun."""
        return PowerExperiment(checker, options, listener or Listener())

    def searches(self, checker: Checker, options: ExperimentOptions) -> Iterator[PowerExperiment]:
        """Return experiments with more and more states and restarts."""
        nudged = all(Filesystem.parse(name).nudges for name in options.filesystems)
        for budget, most in _SEARCHES:
            # Without nudges, the states of one recording come first: restarts would take nearly all the budget from it.
            for restarts in (most,) if nudged else (0, most):
                experiment = self.experiment(checker, replace(options, budget=budget))
                experiment.restarts = restarts
                yield experiment

    def points(self, checker: Checker) -> Sequence[CrashPoint]:
        """None has a name before it is recorded."""
        del checker
        return ()

    def scenario(self, name: str, stored: StoredRun) -> PowerScenario:
        """Return the scenario of an id.

        Raises:
            UsageError: this is not an id, or the report has no such trace.
            EnvironmentLacks: images of its filesystem cannot be mounted here.
        """
        recorded, state = parse_power_id(name)
        options = stored.options
        known = next((account for account in stored.details.get("recordings", []) if account["name"] == recorded), None)
        trace = trace_path(options.report / TRACES, recorded)
        if known is None or not has_trace(trace):
            raise UsageError(
                f"{options.report} has no trace of {recorded!r}: only those with findings are kept; run again"
            )
        if reason := lacking([known.get("filesystem", "")]):
            raise EnvironmentLacks(reason)
        try:
            return PowerScenario(Recording.from_account(known, options.seed, trace), state)
        except (KeyError, IndexError) as error:
            raise UsageError(
                f"{options.report}/summary.json: the account of recording {recorded!r} lacks {error}; run again to replace it"
            ) from None


POWER = Power()
