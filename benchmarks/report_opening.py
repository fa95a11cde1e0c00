"""The time to make the HTML report of a large run, and to open it in a real Chromium until the list is painted.

python -m benchmarks.report_opening [SCENARIOS]
"""

import sys
import tempfile
import time
from pathlib import Path

from crashmatrix.reports import ExperimentSummary, RunSummary, ScenarioResult, Verdict
from crashmatrix.reports.formats.html import render
from tests.reports.chromium import chromium

RUNS = 5


def results(scenarios: int) -> list[ScenarioResult]:
    """110 failpoints, every hundredth scenario broken, ids and explanations as long as real ones."""
    made = []
    for number in range(scenarios):
        point, hit = f"wal.segmented_log.step_{number % 110}.before_sync", number // 110 + 1
        broken, name = number % 100 == 0, f"kill:{point}@{hit}+recovery.replay.before_batch@{number % 7 + 1}"
        made.append(
            ScenarioResult(
                id=name, experiment="kill", point=point, hit=hit, depth=1, method="snapshot", fault=f"{point}={hit}*off->kill",
                verdict=Verdict.LOSES if broken else Verdict.SAFE, state=f"{number * 7919:064x}",
                explanation=f"acknowledged, but gone: {hit} (of {hit + 3} acknowledged)" if broken else "",
                replay=f"crashmatrix replay {name} --report crashmatrix-report",
            )
        )  # fmt: skip
    return made


def main(scenarios: int = 20_000) -> None:
    found = results(scenarios)
    run = RunSummary(target="reference", seed=0, options={}, versions={})
    run.experiments["kill"] = ExperimentSummary.of(found, 60.0, {})
    start = time.perf_counter()
    text = render(run, found)
    print(
        f"{scenarios:,} scenarios: rendered in {time.perf_counter() - start:.2f} s, {len(text.encode()) / 2**20:.1f} MiB"
    )
    with tempfile.TemporaryDirectory() as folder, chromium() as page:
        path = Path(folder) / "index.html"
        path.write_text(text, encoding="utf-8")
        for _ in range(RUNS):
            page.open(Path("/dev/null"))
            page.open(path)
            # Until the frame after the script ran is painted, counted from the beginning of the navigation.
            painted = page(
                "new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"
            )
            loaded = page("performance.getEntriesByType('navigation')[0].loadEventEnd")
            start = time.perf_counter()
            page("document.getElementById('q').value = 'step_77 @12'")
            page("document.getElementById('q').dispatchEvent(new Event('input', {bubbles: true}))")
            filtered = time.perf_counter() - start
            print(
                f"loaded {loaded / 1000:.2f} s, painted within {painted / 1000:.2f} s, filtered in {filtered * 1000:.0f} ms"
            )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
