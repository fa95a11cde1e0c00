"""A shell in the folder that a crash left, before recovery: ``crashmatrix replay ID --shell``. The folder is gone afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from crashmatrix.faults.disk.linux.folders import NotAFolder, opened_folder
from crashmatrix.scenarios.campaign.replay import crashed
from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.experiment import CrashedFolder
from crashmatrix.scenarios.processes.sandbox.cell import lacking
from crashmatrix.scenarios.processes.sandbox.view import FOLDER, ROOT_NAME

__all__ = ["open_shell"]


def open_shell(scenario: str, report: Path, say: Callable[[str], None]) -> None:
    """Run ``$SHELL`` in the folder that a scenario of a report leaves; returns when it ends. ``say`` shows a line.

    Call it last: the calling thread may stay in a mount namespace of its own.

    Raises:
        UsageError, EnvironmentLacks, crashmatrix.reports.ReportError: no such report, scenario or shell.
    """
    with crashed(scenario, report) as left:
        _run(left, say)


def _run(left: CrashedFolder, say: Callable[[str], None]) -> None:
    folder = left.folder
    try:
        with opened_folder(folder.parent.resolve() / folder.name):
            pass
    except NotAFolder as error:
        raise UsageError(f"there is nothing to look at: the folder under test was replaced by {error.what}") from None
    shell = os.environ.get("SHELL") or "/bin/sh"
    known = f"; the target knows it as {FOLDER / ROOT_NAME}" if not lacking() else ""
    say(f"{folder}: {left.about}{known}; it is gone when the shell ends")
    # Ctrl-C is for the shell. The shell does not inherit a handler; it would inherit SIG_IGN.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        subprocess.run([shell], cwd=folder, check=False)
    except OSError as error:
        raise UsageError(f"{shell}: {error.strerror}; set SHELL to a shell") from None
    finally:
        signal.signal(signal.SIGINT, before)
