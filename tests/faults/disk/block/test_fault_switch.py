"""A switch that a recorder and the processes of a recording share."""

import os

from crashmatrix.faults.disk.block.fault_switch import FaultSwitch


def test_a_forked_process_shares_it() -> None:
    """One process switches, and the other one sees it."""
    switch = FaultSwitch()
    assert (switch.fired, switch.healed) == (False, False)
    pid = os.fork()
    if not pid:
        switch.note_failure()
        os._exit(0)
    os.waitpid(pid, 0)
    assert (switch.fired, switch.healed) == (True, False)
    switch.heal()
    assert switch.healed


def test_it_is_reset() -> None:
    """Another recording begins with nothing failed, healed or read."""
    switch = FaultSwitch()
    switch.note_failure()
    switch.note_reads(7)
    switch.heal()
    switch.reset()
    assert (switch.fired, switch.healed, switch.reads) == (False, False, 0)
