"""The `power` experiment: the machine dies; what its disk had flushed survives, and any subset of what it had not.

    1. the workload runs on a recorded disk under a real filesystem, several times, each with another kind of nudge
       (`faults.disk.nudges`): which writes the kernel makes on its own decides which missing sync shows
    2. from each trace the crash states are enumerated (`faults.disk.crash_states`), mounted, recovered and judged against
       what had been promised before the cut (`power_work`)
    3. a state found bad is judged a second time before it is reported

Traces of one seed differ from run to run, so those with findings are kept in the report directory; a scenario's id names
recording and state, and with the kept trace it is the same image, bit for bit.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.disk import Filesystem, requirements
from reports import ScenarioResult, Verdict
from scenarios import power_work
from scenarios.errors import EnvironmentLacks, UsageError
from scenarios.jobs import Ended, Jobs
from scenarios.power_work import Judged, Recording, Share
from scenarios.shards import WHOLE, Shard
from scenarios.system import SystemUnderTest, Target, load

__all__ = [
    "NUDGES",
    "STATES_MAX",
    "TRACES_BYTES_MAX",
    "PowerExperiment",
    "lacking",
    "nudges_on",
    "parse_power_id",
    "trace_path",
]

NUDGES = ("mixed", "commit", "writeback", "async", "storm")
"""The recordings made, in this order."""

STATES_MAX = 1000
"""Default number of crash states judged in a run, over all its recordings."""

TRACES_BYTES_MAX = 256 * 2**20
"""How much of a report directory kept traces may take, in bytes."""


def lacking(filesystems: Iterable[str]) -> str:
    """Return what this machine lacks for the experiment, with the remedy; empty if nothing."""
    names = tuple(name.partition(":")[0] for name in filesystems)
    return "; ".join(f"{missing.what}: {missing.cause}; {missing.remedy}" for missing in requirements(names))


@dataclass(kw_only=True)
class PowerExperiment:
    """One power experiment on one target. Results come in the order of recordings and states."""

    jobs: Jobs
    target: Target
    scratch: Path
    workers: int
    seed: int
    budget: int
    filesystems: tuple[str, ...]
    keep: Path
    """Where traces with findings are kept."""
    shard: Shard = WHOLE
    until_broken: bool = False
    """Stop after the first recording in which a promise was broken: quick proof that a bug is found."""
    keep_traces: bool = True
    replay: Callable[[str], str] = lambda name: f"crashmatrix replay {name}"
    on_result: Callable[[ScenarioResult], None] = lambda _: None
    on_plan: Callable[[str, int], None] = lambda _, __: None
    results: dict[str, ScenarioResult] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _kept_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Run it all; results so far stand even when this is interrupted.

        Raises:
            EnvironmentLacks: no root, FUSE, loop devices or filesystem tools.
            UsageError: the workload does not work on a recorded disk.
        """
        if reason := lacking(self.filesystems):
            raise EnvironmentLacks(reason)
        self.details.update(notes=self._notes, recordings=[])
        kinds = [(filesystem, nudge) for filesystem in self.filesystems for nudge in nudges_on(filesystem)]
        budget = max(1, self.budget // len(kinds))
        for filesystem, nudge in self.shard.deal(kinds):
            self.on_plan(f"{filesystem} {nudge}", len(self.results) + budget)
            recording = self.record(filesystem, nudge)
            self._explore(recording, budget)
            self._keep(recording)
            if self.until_broken and any(result.verdict.broken for result in self.results.values()):
                break
        self._account()

    def ordered(self) -> list[ScenarioResult]:
        """Return the results so far in an order that does not depend on which finished first."""
        return sorted(self.results.values(), key=lambda result: (result.point, result.hit, result.id))

    def record(self, filesystem: str, nudge: str) -> Recording:
        """Make one recording. Raises UsageError, EnvironmentLacks."""
        name = f"{filesystem}~{nudge}~{self.seed}"
        recording = Recording(name, filesystem, nudge, self.seed, trace_path(self.scratch, name))
        ended = self._run(power_work.make_recording, recording)
        if ended.raised is not None and "UsageError" in ended.raised.kinds:
            raise UsageError(ended.raised.message)
        if not ended.returned:
            raise EnvironmentLacks(f"recording on {filesystem} {ended}")
        made: Recording = ended.value
        return made

    def _run(self, function: Callable[..., Any], *args: Any) -> Ended:
        return self.jobs.run(function, self.target, *args, seconds_max=60 + 20 * self._system.seconds_max)

    @property
    def _system(self) -> type[SystemUnderTest]:
        return load(self.target.name)

    def _explore(self, recording: Recording, budget: int) -> None:
        """Share the states out among the workers, and gather what they find."""
        share = max(1, budget // self.workers)
        with ThreadPoolExecutor(self.workers) as pool:
            try:
                ends = list(pool.map(lambda number: self._worker(recording, number, share), range(self.workers)))
            except BaseException:
                self.jobs.stop_all()  # An interrupt stops the judges, not only the waiting for them.
                raise
        for ended in ends:
            if not ended.returned:
                self._add(recording, Judged("none", Verdict.UNKNOWN, f"a judge of this recording {ended}"))
        shares = [ended.value for ended in ends if ended.returned]
        self._distrust(recording)
        self.details["recordings"].append(_account_of(recording, shares))

    def _worker(self, recording: Recording, number: int, share: int) -> Ended:
        seconds = 60 + (share + 2) * 3 * self._system.seconds_max
        job = self.jobs.start(
            power_work.judge, self.target, recording, number, self.workers, share, seconds_max=seconds
        )
        while (judged := job.next_message()) is not None:
            self._add(recording, judged)
        assert job.ended is not None
        return job.ended

    def _add(self, recording: Recording, judged: Judged) -> None:
        name = f"power:{recording.name}:{judged.state}"
        cut = judged.state.partition("-")[0]
        result = ScenarioResult(
            id=name, experiment="power", point=recording.name, hit=int(cut) if cut.isdecimal() else 0, depth=0,
            method="power-cut" if judged.differs else "clean-end", fault=judged.state, verdict=judged.verdict,
            explanation=judged.explanation, state=judged.digest, replay=self.replay(name),
        )  # fmt: skip
        with self._lock:
            self.results[name] = result
            self.on_result(result)

    def _distrust(self, recording: Recording) -> None:
        """A recording whose states could not have differed says nothing."""
        of_this = [result for result in self.results.values() if result.point == recording.name]
        reason = ""
        if any(result.verdict.broken for result in of_this):
            return
        if not recording.events:
            reason = "the journal has no line: nothing was promised"
        elif not recording.flushes:
            reason = "the disk was never flushed"
        elif all(result.method == "clean-end" for result in of_this):
            reason = "no crash state differed from the clean end"
        if reason:
            self._add(recording, Judged("none", Verdict.UNKNOWN, reason))

    def _keep(self, recording: Recording) -> None:
        """Keep the trace if something was found in it, as far as there is room."""
        found = any(r.point == recording.name and r.verdict is not Verdict.SAFE for r in self.results.values())
        size = recording.trace.stat().st_size
        found = found and self.keep_traces
        if found and self._kept_bytes + size <= TRACES_BYTES_MAX:
            self.keep.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(recording.trace, self.keep / recording.trace.name)
            self._kept_bytes += size
        elif found:
            self._notes.append(f"the trace {recording.name} ({size:,} bytes) was not kept: there is no room for more")
        recording.trace.unlink()

    def _account(self) -> None:
        recordings = self.details["recordings"]
        judged = sum(recording["judged"] for recording in recordings)
        images = sum(recording["distinct_images"] for recording in recordings)
        identities = {recording["trace"] for recording in recordings}
        self._notes.append(
            f"{len(recordings)} recordings ({', '.join(recording['name'] for recording in recordings)}), "
            f"{len(identities)} different traces; {judged:,} of {images:,} distinct images enumerated were judged"
        )


def _account_of(recording: Recording, shares: list[Share]) -> dict[str, Any]:
    first = max(shares, key=lambda share: share.enumerated, default=Share())
    names = sorted({name for share in shares for name in share.seconds})
    return {
        "name": recording.name,
        "filesystem": recording.filesystem,
        "nudge": recording.nudge,
        "trace": recording.identity,
        "initial": list(recording.initial),
        "writes": recording.writes,
        "flushes": recording.flushes,
        "journal_lines": recording.events,
        "record_seconds": round(recording.seconds, 2),
        "cuts": first.cuts,
        "pending_most": first.pending_most,
        "possible_log2": first.possible_log2,
        "enumerated": first.enumerated,
        "distinct_images": first.distinct_images,
        "distinct_folders": sum(share.distinct_folders for share in shares),
        "judged": sum(share.judged for share in shares),
        "seconds": {name: round(sum(share.seconds.get(name, 0.0) for share in shares), 2) for name in names},
    }


def nudges_on(filesystem: str) -> tuple[str, ...]:
    """Return the nudges to record under: one recording without any where they make no difference."""
    return tuple(nudge for nudge in NUDGES if nudge in Filesystem.parse(filesystem).nudges) or ("none",)


def trace_path(folder: Path, name: str) -> Path:
    """Return where the trace of a recording lies."""
    return folder / f"{name.replace(':', '_').replace('/', '_')}.trace"


def parse_power_id(text: str) -> tuple[str, str]:
    """Split ``power:RECORDING:STATE``; a recording's name may hold colons. Raises UsageError."""
    kind, _, rest = text.partition(":")
    name, _, state = rest.rpartition(":")
    if kind != "power" or not name or not state:
        raise UsageError(f"{text!r} is no scenario id; they read power:RECORDING:STATE, see results.jsonl")
    return name, state
