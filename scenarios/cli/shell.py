"""A shell in what a crash left, before recovery: ``crashmatrix replay ID --shell``.

Of a power cut, that is the mounted image, in a mount namespace of its own; of a kill, the folder of a process really killed.
Both are gone when the shell ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from crashmatrix.faults.disk import (
    CrashImages,
    CrashState,
    InvalidState,
    MountRefused,
    enter_private_namespace,
    load_trace,
)
from crashmatrix.faults.disk.linux.folders import NotAFolder, opened_folder
from crashmatrix.reports import read_summary
from crashmatrix.scenarios.campaign.campaign import Plan, experiment_of, kept_recording, workbench
from crashmatrix.scenarios.errors import EnvironmentLacks, UsageError
from crashmatrix.scenarios.judging.checker import Checked
from crashmatrix.scenarios.kill.plan import parse_id

__all__ = ["open_shell"]


def open_shell(scenario: str, report: Path, say: Callable[[str], None]) -> None:
    """Run ``$SHELL`` in the folder that a scenario of a report leaves; returns when it ends. ``say`` shows a line.

    Call it last: the calling thread stays in a mount namespace of its own.

    Raises:
        UsageError, EnvironmentLacks, crashmatrix.reports.ReportError: no such report, scenario or shell.
    """
    summary = read_summary(report)
    plan = Plan.from_summary(summary, report)
    if scenario.startswith("power:"):
        recording, name = kept_recording(scenario, plan, summary)
        enter_private_namespace()  # Before the trace is loaded: where there is no root, this takes a process of one thread.
        trace = load_trace(recording.trace)
        try:
            state = CrashState.parse(name, trace)
            with CrashImages(trace) as images, images.mounted(state) as root:
                _run(root, f"the {recording.filesystem} that the power cut {name} left, before recovery", say)
        except InvalidState as error:
            raise UsageError(str(error)) from None
        except MountRefused as error:
            raise EnvironmentLacks(f"this state cannot be looked at: {error}") from None
        return
    path = parse_id(scenario)
    with workbench(plan) as (checker, _):
        experiment = experiment_of(plan, checker)
        folder = checker.folder()
        left = experiment.crash(experiment.prepare(), path, folder)
        if isinstance(left, Checked):
            raise UsageError(f"{scenario} left nothing to look at: {left.explanation}")
        what = f"the folder that the kill left, before recovery; the journal is {folder / 'journal'}"
        _run(folder / "root", what, say)


def _run(folder: Path, what: str, say: Callable[[str], None]) -> None:
    try:
        with opened_folder(folder.parent.resolve() / folder.name):
            pass
    except NotAFolder as error:
        raise UsageError(f"there is nothing to look at: the folder under test was replaced by {error.what}") from None
    shell = os.environ.get("SHELL") or "/bin/sh"
    say(f"{folder}: {what}; it is gone when the shell ends")
    before = signal.signal(
        signal.SIGINT, lambda *_: None
    )  # Ctrl-C is the shell's; a handler, unlike SIG_IGN, is not inherited.
    try:
        subprocess.run([shell], cwd=folder, check=False)
    except OSError as error:
        raise UsageError(f"{shell}: {error.strerror}; set SHELL to a shell") from None
    finally:
        signal.signal(signal.SIGINT, before)
