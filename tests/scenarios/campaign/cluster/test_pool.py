"""A run on a cluster has the plan, the ids and the verdicts of a run on one machine, whatever becomes of the workers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crashmatrix.reports import ScenarioResult, read_results
from crashmatrix.scenarios.campaign.campaign import Campaign
from crashmatrix.scenarios.campaign.cluster.pool import ClusterPool, cluster_pool
from crashmatrix.scenarios.campaign.cluster.worker import CONFIG, resources, version
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.experiment import Listener
from crashmatrix.scenarios.judging.tasks.pool import Pool
from tests.scenarios.campaign.cluster.tasks import Doubling
from tests.scenarios.campaign.test_resume import killed, plan_of, run, verdicts

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.experiment,
    pytest.mark.filterwarnings("default"),  # Dask's own
]


def test_no_such_cluster(tmp_path: Path) -> None:
    """A cluster that is misspelt is refused before anything is judged."""
    plan = replace(plan_of("kill", tmp_path / "report"), cluster="local:many")
    with pytest.raises(UsageError, match="--cluster tcp://"):
        run(plan)


def details(campaign: Campaign) -> dict[str, Any]:
    return next(iter(campaign.summary.experiments.values())).details


@pytest.mark.parametrize(
    "experiment",
    [
        "kill",
        pytest.param("io-error", marks=pytest.mark.slow),
        pytest.param("power", marks=[pytest.mark.slow, pytest.mark.recorded]),
    ],
)
def test_same_as_on_one_machine(experiment: str, tmp_path: Path) -> None:
    """One plan gives one report, here and on a cluster. (Recordings differ from run to run, so power is compared by verdict.)"""
    plan = replace(plan_of(experiment, tmp_path / "one"), budget=8 if experiment != "power" else 40)
    one, many = run(plan), run(replace(plan, report=tmp_path / "many", cluster="local:2"))
    assert one.summary.verdict == many.summary.verdict
    if experiment != "power":
        assert verdicts(one) == verdicts(many)
        assert [result.id for result in one.results] == [result.id for result in many.results]
        assert details(one)["plan"] == details(many)["plan"]
    else:
        kinds = [{each["name"].partition("/")[0] for each in details(one)["recordings"]} for one in (one, many)]
        assert kinds[0] == kinds[1]


@contextmanager
def cluster(*each: dict[str, float]) -> Iterator[Any]:
    """A scheduler and workers that can do what is given, each in a process of its own."""
    import dask
    from distributed import LocalCluster

    with dask.config.set(CONFIG), LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as made:
        for can in each:
            made.new_spec["options"]["resources"] = can
            made.new_spec["options"]["nthreads"] = 1
            made.scale(len(made.workers) + 1)
            made.sync(made._correct_state)  # Dask has no other way to add a worker unlike the others
        yield made


class Killer(Listener):
    """Kills a worker at the n-th result."""

    def __init__(self, made: Any, at: int) -> None:
        self._made, self._left = made, at

    def result(self, result: ScenarioResult) -> None:
        self._left -= 1
        if self._left == 0:
            nanny = next(iter(self._made.workers.values()))
            os.kill(nanny.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_is_killed(tmp_path: Path) -> None:
    """Its task is done by another, or by the one that takes its place."""
    plan = plan_of("kill", tmp_path / "one")
    whole = run(plan)
    can, _ = resources()
    with cluster(can, can) as made:
        campaign = Campaign(replace(plan, report=tmp_path / "many", cluster=made.scheduler_address), Killer(made, at=8))
        campaign.run()
    assert verdicts(campaign) == verdicts(whole)


@pytest.mark.slow
def test_the_coordinator_is_killed(tmp_path: Path) -> None:
    """Another coordinator goes on, even without the cluster."""
    plan = plan_of("kill", tmp_path / "one")
    whole = run(plan)
    can, _ = resources()
    with cluster(can, can) as made:
        plan = replace(plan, report=tmp_path / "many", cluster=made.scheduler_address)
        killed(plan, 12)
        assert verdicts(run(replace(plan, resume=True))) == verdicts(whole)
        killed(plan, 12)
    assert verdicts(run(replace(plan, cluster="", resume=True))) == verdicts(whole)


@contextmanager
def pool_of(made: Any, folder: Path) -> Iterator[Pool[Any]]:
    plan = Plan(target=plan_of("kill", folder).target, cluster=made.scheduler_address, report=folder)
    with workbench(plan) as (checker, _), cluster_pool(plan, checker) as pool:
        yield pool


@pytest.mark.slow
def test_tasks(tmp_path: Path) -> None:
    """A task that kills its worker each time is lost, and no other is; files travel; what nobody can do is refused."""
    can, _ = resources()
    without_power = {name: count for name, count in can.items() if not name.startswith("power")}
    (tmp_path / "file").write_text("100")
    with cluster(without_power, without_power) as made, pool_of(made, tmp_path / "report") as pool:
        numbers = {number: number for number in range(30)}
        assert dict(pool.each(Doubling(), numbers, 2)) == {number: 2 * number for number in numbers}
        expected = {number: 2 * number if number != 17 else -1 for number in numbers}
        assert dict(pool.each(Doubling(deadly=17), numbers, 2)) == expected
        assert dict(pool.each(Doubling(file=tmp_path / "file"), {1: 1}, 2)) == {1: 102}
        few = {number: number for number in range(16)}  # A worker answers before it has done all of a chunk.
        assert dict(pool.each(Doubling(seconds=2.6), few, 2)) == {number: 2 * number for number in few}
        with pytest.raises(EnvironmentLacks, match="no worker of the cluster can run power on ext4"):
            dict(pool.each(Doubling(experiment="power"), numbers, 2))


@pytest.mark.slow
def test_all_workers_go(tmp_path: Path) -> None:
    """The run waits for another worker, which may join late; it says so, and does not wait for ever."""
    can, _ = resources()
    with cluster(can) as made, pool_of(made, tmp_path / "report") as pool:
        assert isinstance(pool, ClusterPool)
        made.scale(0)
        made.sync(made._correct_state)
        pool.alone_seconds_max = 1.0
        with pytest.raises(EnvironmentLacks, match="none has come back for 1 s; start one with: crashmatrix worker"):
            dict(pool.each(Doubling(), {1: 1}, 2))
        assert any("had gone for a time" in remark for remark in pool.remarks)
        pool.alone_seconds_max = 60.0
        made.scale(1)
        assert dict(pool.each(Doubling(), {1: 1}, 2)) == {1: 2}


@pytest.mark.slow
def test_another_version(tmp_path: Path) -> None:
    """A worker with another version gets no task, and both versions are named; without any other, the run is refused."""
    can, _ = resources()
    other = {"crashmatrix 0.0.9 on Python 3.9": 1.0, "kill": 1.0}
    says = rf"it has crashmatrix 0\.0\.9 on Python 3\.9, the coordinator has {version()}"
    with cluster(other) as made, pytest.raises(UsageError, match=says), pool_of(made, tmp_path / "report"):
        pass
    with cluster(can, other) as made, pool_of(made, tmp_path / "report") as pool:
        assert dict(pool.each(Doubling(), {1: 1, 2: 2}, 2)) == {1: 2, 2: 4}
        assert any("crashmatrix 0.0.9" in remark for remark in pool.remarks)


@contextmanager
def two_networks() -> Iterator[tuple[str, str]]:
    """Two network namespaces, joined by a cable; the first has the address 10.213.0.1. Yields their names."""
    one, other = (f"crashmatrix-{os.getpid()}-{end}" for end in "ab")
    try:
        for number, name in enumerate((one, other), 1):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            if number == 2:
                ip("-n", one, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", other)
        for number, name in enumerate((one, other), 1):
            ip("-n", name, "address", "add", f"10.213.0.{number}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
        yield one, other
    finally:
        for name in (one, other):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces need root and iproute2")
def test_workers_in_another_network(tmp_path: Path) -> None:
    """Scheduler and coordinator in one network, the worker in another, as on two machines; the verdicts are the same."""
    plan = replace(plan_of("kill", tmp_path / "one"), budget=8)
    whole = run(plan)
    address, report = "tcp://10.213.0.1:8786", tmp_path / "many"
    program = [sys.executable, "-c", "from crashmatrix.scenarios.cli.main import main; main()"]
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard", "--host", address]
    with two_networks() as (here, there), ExitStack() as stack:
        for network, command in ((here, dask), (there, [*program, "worker", address, "--jobs", "1"])):
            started = subprocess.Popen(["ip", "netns", "exec", network, *command], stdout=subprocess.DEVNULL)
            stack.callback(started.wait)
            stack.callback(started.terminate)
        ended = subprocess.run(
            ["ip", "netns", "exec", here, *program, "run", plan.target, "--experiments", "kill", "--budget", "8",
             "--fs", "posix", "--cluster", address, "--report", str(report)],
            capture_output=True, text=True,
        )  # fmt: skip
    assert ended.returncode == whole.summary.verdict.exit_status, ended.stderr
    assert {result.id: result.verdict.value for result in read_results(report)} == verdicts(whole)
