"""The cost of checking stored results: by hand, and with each library that was considered.

python -m pip install cattrs pydantic; python -m benchmarks.validation

Printed is processor time, the best of nine; an import's time does not include the standard library's.
"""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec

from benchmarks.report_opening import results
from crashmatrix.reports import ScenarioResult

LINES = 20_000
RUNS = 9


def best(run: Callable[[], object]) -> float:
    """Processor milliseconds of the fastest run."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1_000 * min(times)


def import_ms(name: str) -> float:
    """Processor milliseconds that an import takes in a fresh process, with dataclasses, json and typing there already."""
    program = (
        "import dataclasses, json, typing, time; start = time.process_time()\n"
        f"import {name}; print(time.process_time() - start)"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True) for _ in range(RUNS)]
    return 1_000 * min(float(run.stdout) for run in runs)


def by_hand(line: bytes) -> ScenarioResult:
    value = json.loads(line)
    return ScenarioResult(**{name: value[name] for name in ScenarioResult.__dataclass_fields__})


def main() -> None:
    lines = [json.dumps(one.to_json()).encode() for one in results(LINES)]
    print(f"json alone       {best(lambda: [json.loads(line) for line in lines]):6.0f} ms")
    print(f"by hand          {best(lambda: [by_hand(line) for line in lines]):6.0f} ms, nothing checked")
    readers: dict[str, Callable[[bytes], object]] = {
        "msgspec": lambda line: msgspec.convert(json.loads(line), ScenarioResult)
    }
    if importlib.util.find_spec("pydantic"):
        adapter = importlib.import_module("pydantic").TypeAdapter(ScenarioResult)
        readers["pydantic"] = lambda line: adapter.validate_python(json.loads(line))
    if importlib.util.find_spec("cattrs"):
        converter = importlib.import_module("cattrs").Converter()
        readers["cattrs"] = lambda line: converter.structure(json.loads(line), ScenarioResult)
    for name, read in readers.items():
        took = best(lambda read=read: [read(line) for line in lines])  # type: ignore[misc]
        print(f"{name:<16} {took:6.0f} ms, import {import_ms(name):.0f} ms")


if __name__ == "__main__":
    main()
