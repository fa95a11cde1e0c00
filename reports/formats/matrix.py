"""The matrix of points and hits of each experiment, as the cells of a heat map: the scenarios run there, and their verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from crashmatrix.reports.result import ScenarioResult
from crashmatrix.reports.verdict import Verdict, worst

__all__ = ["COLUMNS_MAX", "Cell", "HeatMap", "MethodTable", "Row", "heat_map", "method_table"]

COLUMNS_MAX = 40
"""How many columns a map has at most. With more hits, each column stands for a range of hits."""

_MANY, _FEW = 20, 3


@dataclass
class Cell:
    """Scenarios at one point and a range of its hits."""

    counts: Counter[Verdict] = field(default_factory=Counter)

    @property
    def scenarios(self) -> int:
        """How many scenarios there are."""
        return self.counts.total()

    @property
    def worst(self) -> Verdict:
        """The worst verdict among them."""
        return worst(self.counts)

    @property
    def kind(self) -> str:
        """``none``, ``safe``, ``unknown`` or ``broken``."""
        if not self.scenarios:
            return "none"
        return "broken" if self.worst.broken else "safe" if self.worst is Verdict.SAFE else "unknown"

    @property
    def heat(self) -> int:
        """From 1 to 3: how many scenarios are safe, or which share is not safe."""
        if self.kind == "safe":
            return 1 + (self.scenarios > _FEW) + (self.scenarios > _MANY)
        share = 1 - self.counts[Verdict.SAFE] / max(1, self.scenarios)
        return 1 + (share > 0.1) + (share > 0.5)

    @property
    def text(self) -> str:
        """The cell in words."""
        parts = [f"{self.counts[verdict]:,} {verdict}" for verdict in reversed(Verdict) if self.counts[verdict]]
        return ", ".join(parts) or "nothing run"

    @property
    def short(self) -> str:
        """The cell in a word or two: its worst verdict, and in how many scenarios, if not in all: ``loses 1/3``."""
        if not self.scenarios:
            return ""
        count = self.counts[self.worst]
        return self.worst.value if count == self.scenarios else f"{self.worst} {count:,}/{self.scenarios:,}"


@dataclass
class Row:
    """The row of a point: a failpoint, or a recording."""

    point: str
    cells: list[Cell]

    @property
    def whole(self) -> Cell:
        """All its cells as one."""
        return Cell(sum((cell.counts for cell in self.cells), Counter()))


@dataclass
class HeatMap:
    """The map of an experiment. ``ranges`` are the hits of each column, first and last."""

    experiment: str
    ranges: list[tuple[int, int]]
    rows: list[Row]


@dataclass
class MethodTable:
    """The verdict of each point and method of an experiment, as a table of faults and endings."""

    methods: list[str]
    rows: list[Row]


def method_table(experiment: str, results: Iterable[ScenarioResult]) -> MethodTable:
    """Count an experiment's results by point and method, in the results' order; rows with a broken promise come first."""
    mine = [result for result in results if result.experiment == experiment]
    methods = _in_order(mine)
    rows: dict[str, Row] = {}
    for result in mine:
        if result.point not in rows:
            rows[result.point] = Row(result.point, [Cell() for _ in methods])
        rows[result.point].cells[methods.index(result.method)].counts[result.verdict] += 1
    return MethodTable(methods, sorted(rows.values(), key=lambda row: not row.whole.worst.broken))


def _in_order(results: Iterable[ScenarioResult]) -> list[str]:
    """All methods: each behind the one that comes before it at a hit of a point, though many hits lack some."""
    order: list[str] = []
    before: tuple[str, int, str] | None = None
    for result in results:
        same = before is not None and before[:2] == (result.point, result.hit)
        if result.method not in order:
            order.insert(order.index(before[2]) + 1 if same and before else len(order), result.method)
        before = result.point, result.hit, result.method
    return order


def heat_map(experiment: str, results: Iterable[ScenarioResult], *, columns_max: int = COLUMNS_MAX) -> HeatMap:
    """Count an experiment's results by point and hit; rows with a broken promise come first, then in the results' order."""
    mine = [result for result in results if result.experiment == experiment]
    first = min((result.hit for result in mine), default=1)
    last = max((result.hit for result in mine), default=1)
    width = -(-(last - first + 1) // columns_max)
    ranges = [(start, min(last, start + width - 1)) for start in range(first, last + 1, width)]
    rows: dict[str, Row] = {}
    for result in mine:
        if result.point not in rows:
            rows[result.point] = Row(result.point, [Cell() for _ in ranges])
        rows[result.point].cells[(result.hit - first) // width].counts[result.verdict] += 1
    ordered = sorted(rows.values(), key=lambda row: not row.whole.worst.broken)
    return HeatMap(experiment, ranges, ordered)
