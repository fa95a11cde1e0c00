"""The command line, called often: each call is a process of its own, forked from one that has imported all it needs.

A call may begin with Python of the test's, which changes something in that process: a full device as its output, an error.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import ROOT

CRASHMATRIX = [sys.executable, "-c", "from crashmatrix.scenarios.cli.main import main; main()"]

_FORKING = """
import contextlib, gc, json, os, signal, sys, tempfile, time
from crashmatrix.reports.formats import html
from crashmatrix.scenarios.campaign import campaign, replay, soak
from crashmatrix.scenarios.campaign.experiments import EXPERIMENTS
from crashmatrix.scenarios.cli import commands as cli  # Already imported when `main` imports it; the others, when it needs them.
from crashmatrix.scenarios.cli.main import main
from crashmatrix.scenarios.mutation import harness, mutation_run, survivors

dict(EXPERIMENTS)

def begin(call):
    os.chdir(call["cwd"])
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        os.dup2(os.open(call["output"][descriptor - 1], os.O_WRONLY), descriptor)
    sys.argv[1:] = call["arguments"]
    os.environ.update(call["environment"])
    tempfile.tempdir = None
    exec(call["first"], globals())

with contextlib.suppress(Exception):
    cli.app(["report", "nosuch"], standalone_mode=False)  # The option parser imports more for its first command.

gc.collect()
gc.freeze()  # Else each call would look at all of this as it ends, and so copy it.
answers = os.fdopen(os.dup(1), "w")
os.set_inheritable(answers.fileno(), False)
calls = os.fdopen(os.dup(0))
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
while line := calls.readline():
    pid = os.fork()
    if not pid:
        begin(json.loads(line))
        main()
        sys.exit()
    answers.write(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) + "\\n")
    answers.flush()
"""


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **more}


def crashmatrix(*arguments: str, cwd: Path, first: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Call the command line, with more variables in its environment; the time limit is the test's.

    ``first`` is Python that the process runs before it begins, with `cli` as the commands.
    """
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
        server = _server()
        assert server.stdin
        assert server.stdout
        call = {
            "cwd": str(cwd), "arguments": arguments, "output": [output.name, errors.name], "environment": more, "first": first
        }  # fmt: skip
        server.stdin.write(json.dumps(call) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(list(arguments), status, output.read(), errors.read())


@functools.cache
def _server() -> subprocess.Popen[str]:
    """Return the server of this process, which ends with it."""
    return subprocess.Popen(
        [sys.executable, "-c", _FORKING],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=environment(),
    )  # fmt: skip


def crashmatrix_program(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Start the program itself, with more variables in its environment."""
    return subprocess.run(
        [*CRASHMATRIX, *arguments], capture_output=True, text=True, cwd=cwd, env=environment(**more), timeout=280
    )
