"""Interruption: the first signal ends the command, the next ones do nothing, and a signal ignored before stays ignored."""

import signal
import subprocess
import sys

import pytest

from crashmatrix.scenarios.processes.interruption import ENDING_SIGNALS
from tests import ROOT

HEAD = """
import os, signal, sys, threading, time
from crashmatrix.scenarios.processes.interruption import Interrupted, Interruption
number = int(sys.argv[1])
interruption = Interruption()
"""

INTERRUPTED = """
interruption.interrupt()
try:
    os.kill(os.getpid(), number)
    signal.pause()
except Interrupted:
    os.kill(os.getpid(), number)  # While the program cleans up.
    print("cleaned up", interruption.status)
sys.exit(interruption.status)
"""

LEFT = """
interruption.leave()
os.kill(os.getpid(), number)
signal.pause()
"""

IGNORED = """
interruption.ignore()
os.kill(os.getpid(), number)
print("went on", interruption.status)
"""

UNRAISABLE = """
interruption.interrupt()
class Falls:
    def __del__(self):
        os.kill(os.getpid(), number)
        for _ in range(1000):
            pass
try:
    Falls()
    while True:  # Not signal.pause: the signal may come just before.
        time.sleep(0.01)
except Interrupted:
    print("heard", interruption.status)
"""

UNINTERRUPTED = """
from crashmatrix.scenarios.processes.interruption import uninterrupted
interruption.interrupt()
@uninterrupted
def both_steps():
    os.kill(os.getpid(), number)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    print("both steps", threading.active_count() + len(sys._current_frames()))
try:
    both_steps()
    while True:
        time.sleep(0.01)
except Interrupted:
    print("heard", interruption.status)
"""

every_signal = pytest.mark.parametrize("number", ENDING_SIGNALS, ids=lambda number: signal.Signals(number).name)


def run(script: str, number: int, ignored: bool = False) -> "subprocess.CompletedProcess[str]":
    def prepare() -> None:
        signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)

    return subprocess.run(
        [sys.executable, "-c", HEAD + script, str(int(number))], cwd=ROOT, capture_output=True, text=True, timeout=60,
        preexec_fn=prepare,
    )  # fmt: skip


@every_signal
def test_first_signal_interrupts_and_the_second_does_nothing(number: int) -> None:
    done = run(INTERRUPTED, number)
    assert (done.stdout, done.returncode) == (f"cleaned up {128 + number}\n", 128 + number), done.stderr


@every_signal
def test_before_there_is_anything_to_clean_up(number: int) -> None:
    """While modules are imported, the program ends at once and says why in one line."""
    done = run(LEFT, number)
    assert (done.stderr, done.returncode) == ("crashmatrix: interrupted\n", 128 + number)


@every_signal
def test_while_the_program_ends(number: int) -> None:
    done = run(IGNORED, number)
    assert (done.stdout, done.returncode) == ("went on 0\n", 0), done.stderr


@every_signal
def test_ignored_from_the_start(number: int) -> None:
    """Under nohup, SIGHUP stays ignored: no handler takes the place of the inherited one."""
    script = "interruption.interrupt()\nos.kill(os.getpid(), number)\nprint('went on', interruption.status)\n"
    done = run(script, number, ignored=True)
    assert (done.stdout, done.returncode) == ("went on 0\n", 0), done.stderr


def test_in_a_destructor() -> None:
    """Python drops an exception that is raised in a destructor; the signal is sent again, and is not lost."""
    done = run(UNRAISABLE, signal.SIGTERM)
    assert (done.stdout, done.returncode) == ("heard 143\n", 0), done.stderr


def test_in_steps_that_belong_together() -> None:
    """The exception waits for the end of an `uninterrupted` function and of what it calls, and is not lost."""
    done = run(UNINTERRUPTED, signal.SIGTERM)
    assert (done.stdout, done.returncode) == ("both steps 3\nheard 143\n", 0), done.stderr  # One thread sends it again.
