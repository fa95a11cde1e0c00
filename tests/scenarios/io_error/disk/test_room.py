"""A small disk fills up, by the data itself and by a neighbour: for a store in Python and one run by commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reports import Verdict
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.io_error.disk.room import least
from crashmatrix.scenarios.io_error.disk.source import DiskSource
from crashmatrix.scenarios.io_error.faults import FULL, ROOMS, SMALL
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from tests.scenarios.io_error.test_experiment import SYSTEMS

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

EACH_DAY = [pytest.param("ext4"), *(pytest.param(name, marks=pytest.mark.slow) for name in ("xfs", "btrfs"))]

COMMANDS = """
contract = "exactly-once"
recovers_from_full_disk = true
workload = ["sh", "-c", '''
cd "$1"; touch log; size=0; refused=
for item in 1 2 3 4 5; do
  echo "attempt $item" >> "$CRASHMATRIX_JOURNAL"
  if [ -z "$refused" ] && truncate -s $size log && printf '%0399999d\\n' $item >> log && sync log
  then echo "ack $item" >> "$CRASHMATRIX_JOURNAL"; size=$(stat -c %s log)
  else echo "fail $item" >> "$CRASHMATRIX_JOURNAL"; AFTER
  fi
done''', "sh", "{root}"]
recover = ["sh", "-c", '''
cd "$1"; [ -e log ] || exit 0
CHECKS
awk "length == 399999" log > items
REWRITES
sed "s/^0*//" items; rm items''', "sh", "{root}"]
"""
"""A store run by commands: a line of 400,000 bytes for each item, and room is needed for a list of them when it is opened."""

_BUDGETS = {"ext4": 216, "xfs": 1000, "btrfs": 1000}
"""Three rooms: none, a middle one, and nearly enough; or all. Where a new file takes much room, few rooms show what is wrong."""

STORES = {
    "right": ("true", "set -e", "true", {}),
    "stays full": ("refused=yes", "set -e", "true", {"cannot-open": {FULL}}),
    "writes anew when it is opened": ("true", "true", "cp items log", {"loses": {SMALL}}),
}
"""By its steps after a failure, and when it is opened: the verdicts that break a store's promise, and the faults that show it."""


def broken_by(filesystem: str, target: str, report: Path) -> dict[str, set[str]]:
    """Fill the disk of a store; returns the verdicts that break its promise, with the classes of faults that led to them."""
    plan = Plan(target=target, experiments=("io-error",), report=report, workers=2)
    with workbench(plan) as (checker, _):
        source = DiskSource(checker, plan.experiment_options, filesystem, ())
        faults = [fault for fault in source.plan(_BUDGETS[filesystem]) if fault.calls in ROOMS]
        assert {fault.calls for fault in faults} == set(ROOMS)
        broken: dict[str, set[str]] = {}
        fired = set()
        for fault, run, judged in source.run(faults):
            fired |= {(fault.calls, fault.times)} if run.fired else set()
            assert Verdict.UNKNOWN not in {checked.verdict for checked, _ in judged.values()}
            assert {ending for ending in judged if fault.calls == FULL} <= {"remounted", "resumed"}
            assert run.went_on or not run.fired or b"fail" in run.journal or b"ack" not in run.journal
            refused = run.journal.count(b"fail ") - 1
            assert all(
                f"each of the {refused} items" in checked.explanation
                for checked, _ in judged.values()
                if "since" in checked.explanation
            )
            for checked, _ in judged.values():
                if checked.verdict.broken:
                    broken.setdefault(checked.verdict.value, set()).add(fault.calls)
        assert fired == {(FULL, "once"), (FULL, "on"), (SMALL, "on")}
        return broken


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(
    ("name", "filesystem"),
    [
        pytest.param(name, filesystem, marks=[] if filesystem == "ext4" and name != "stays full" else pytest.mark.slow)
        for name in STORES
        for filesystem in ("ext4", "xfs", "btrfs")
    ],
)
def test_a_store_run_by_commands(tmp_path: Path, name: str, filesystem: str) -> None:
    """One that stays full is found by the neighbour's leaving, one that spoils its data by the lack of room when it is opened."""
    after, checks, rewrites, broken = STORES[name]
    text = COMMANDS.replace("AFTER", after).replace("CHECKS", checks).replace("REWRITES", rewrites)
    (tmp_path / "store.toml").write_text(text)
    assert broken_by(filesystem, str(tmp_path / "store.toml"), tmp_path / "report") == broken


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize("filesystem", EACH_DAY)
@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("LargeStaysFull", {"cannot-open": {FULL}}),
        ("LargeSwallows", {"loses": {FULL, SMALL}}),
        pytest.param("LargeComesBack", {}, marks=pytest.mark.slow),
    ],
)
def test_a_store_in_python(tmp_path: Path, name: str, broken: dict[str, set[str]], filesystem: str) -> None:
    """One that refuses everything after an error is found, and one that takes no notice of it; the right one is safe."""
    assert broken_by(filesystem, f"{SYSTEMS}:{name}", tmp_path / "report") == broken


@pytest.mark.parametrize("needed", [0, 1, 4096, 4097, 50_000, 1 << 20])
@pytest.mark.parametrize("guess", [0, 4096, 70_000, 1 << 22])
def test_the_least_room(needed: int, guess: int) -> None:
    """It suffices, and is not far from what is needed; a good guess takes few tries."""
    tried = list[int]()

    def suffices(room: int) -> bool:
        tried.append(room)
        return room >= needed

    found = least(suffices, guess)
    assert suffices(found)
    assert found - needed <= max(4096, max(guess, needed) >> 4)
    assert len(tried) <= 16
    assert not any(room % 4096 or room < 0 for room in tried)


def test_no_room_suffices() -> None:
    """A workload that always fails needs no more than was tried."""
    assert 4096 <= least(lambda _: False, 0) < 1 << 30
