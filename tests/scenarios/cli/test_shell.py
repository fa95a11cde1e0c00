"""`--shell` opens a shell in the folder that a crash left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from crashmatrix.scenarios.processes.sandbox.cell import lacking
from tests.scenarios.command_line import CRASHMATRIX, crashmatrix

STORE = """
from crashmatrix.faults import declare
from crashmatrix import SystemUnderTest

OPENED = declare("store.opened", "the old file is truncated")


class Store(SystemUnderTest):
    def workload(self, root, journal):
        for item in range(3):
            with journal.attempt(item):
                items = self.recover(root)
                with open(root / "data", "w") as file:
                    OPENED.hit()
                    file.writelines(f"{each}\\n" for each in [*items, item])

    def recover(self, root):
        return [int(line) for line in (root / "data").read_text().split()] if (root / "data").exists() else []
"""


def test_a_shell_in_what_a_kill_left(tmp_path: Path) -> None:
    """The folder is that of the killed process, before recovery, and is gone afterwards."""
    store = tmp_path / "store.py"
    store.write_text(STORE)
    ran = crashmatrix("run", "store.py:Store", "--experiments", "kill", cwd=tmp_path)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    finding = json.loads((tmp_path / "crashmatrix-report" / "summary.json").read_text())["findings"][0]
    shell = look("replay", finding["example"], "--shell", cwd=tmp_path, script="pwd; ls; cat data")
    line, folder, *left = shell.stdout.splitlines()
    assert line.startswith(f"{folder}: the folder that the kill left, before recovery")
    assert lacking() or "; the target knows it as /tmp/crashmatrix/data; it is gone" in line
    assert left == ["data"]
    assert not Path(folder).exists()


def look(*arguments: str, cwd: Path, script: str = "ls") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SHELL": "/bin/sh"}
    return subprocess.run(
        [*CRASHMATRIX, *arguments], cwd=cwd, input=script, env=environment, capture_output=True, text=True, check=False
    )
