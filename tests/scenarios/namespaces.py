"""A PID namespace in which a program can harm nobody, and innocent processes to see whether it tries.

The innocents are what daemons look like: children of the namespace's init, each in a session of its own.
"""

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import ROOT

_UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")
_INIT = """
import json, os, subprocess, sys, tempfile, time

def innocent():
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            os.close(writer)
            os.closerange(0, 3)
            time.sleep(1000)
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(reader, 100))

def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(") ")[2][0] not in "ZXT"
    except OSError:
        return False

assert os.getpid() == 1
innocents = [innocent() for _ in range(3)]
with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:  # A pipe may be held by what is left.
    done = subprocess.run(sys.argv[1:], stdout=output, stderr=errors)
    time.sleep(0.05)
    output.seek(0)
    errors.seek(0)
    print(json.dumps([done.returncode, output.read(), errors.read(), sum(map(alive, innocents))]), flush=True)
os._exit(0)
"""
INNOCENTS = 3


@dataclass(frozen=True)
class Done:
    """How a program ended, and how many innocents still live."""

    status: int
    output: str
    errors: str
    alive: int


def run_apart(*command: str | Path, cwd: Path, seconds_max: float = 120) -> Done:
    """Run a program in a namespace of its own; skips the test where there are none."""
    unshare = _unshare()
    if unshare is None:
        pytest.skip("no PID namespaces here: run as root, or allow user namespaces")
    done = subprocess.run(
        [*unshare, sys.executable, "-c", _INIT, *command], cwd=cwd, capture_output=True, text=True, timeout=seconds_max,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(cwd)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Done(*json.loads(done.stdout))


@functools.cache
def _unshare() -> tuple[str, ...] | None:
    for user in ((), ("--user", "--map-root-user")):
        command = (*_UNSHARE, *user)
        try:
            if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
                return command
        except OSError:
            return None
    return None
