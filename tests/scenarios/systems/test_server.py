"""A server is waited for, used, and stopped in order; one that fails is quoted, and nothing of it stays."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.server import PORT_VARIABLE, Server, ServerFailed
from crashmatrix.scenarios.systems.server_times import times_in_words
from crashmatrix.scenarios.target.lives import Life, current

LISTEN = """
import os, signal, socket, sys
def stop(*_):
    open(sys.argv[2], "w").write("in order")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listening as", os.getuid(), flush=True)
while True:
    connection, _ = listener.accept()
    connection.sendall(b"hello")
    connection.close()
"""
FOREVER = "import time\nwhile True: time.sleep(60)"


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def answer(server: Server) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        return client.recv(16)


def test_used_and_stopped_in_order(tmp_path: Path) -> None:
    """A server is ready once its port answers, and ends by SIGTERM, which it may handle."""
    stopped = tmp_path / "stopped"
    with Server(python(LISTEN, "{port}", str(stopped))) as server:
        assert answer(server) == b"hello"
        assert server.variables[PORT_VARIABLE] == str(server.port)
        assert server.gone() == ""
    assert stopped.read_text() == "in order"
    assert server.port not in listening()


def listening() -> set[int]:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return {int(line.split()[1].partition(":")[2], 16) for line in lines if line.split()[3] == "0A"}


def test_two_servers_have_two_ports(tmp_path: Path) -> None:
    """A port that one server has is given to no other."""
    with Server(python(FOREVER), ready="true") as one, Server(python(FOREVER), ready="true") as other:
        assert one.port != other.port


def test_ready_line() -> None:
    """A server is ready once it has printed the line, on whichever stream."""
    code = "import sys, time\nprint('begin', file=sys.stderr, flush=True)\ntime.sleep(0.1)\nprint('now ready.', flush=True)\n"
    with Server(python(code + FOREVER), ready_line="now ready") as server:
        assert server.output() == b"begin\nnow ready.\n"


def test_socket_of_a_crashed_server_does_not_count(tmp_path: Path) -> None:
    """The file of a socket that a crash left is there, and nobody answers: the server is ready when it does."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
    code = f"""
import os, socket, time
time.sleep(0.1)
os.unlink({str(path)!r})
listener = socket.socket(socket.AF_UNIX)
listener.bind({str(path)!r})
listener.listen()
print("listening", flush=True)
{FOREVER}
"""
    with Server(python(code), ready_socket=path) as server:
        assert server.output() == b"listening\n" or answers(path)


def answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def test_ready_command(tmp_path: Path) -> None:
    """A server is ready once the command succeeds; it is tried again until then."""
    path = tmp_path / "ready"
    code = f"import time\ntime.sleep(0.1)\nopen({str(path)!r}, 'w').close()\n{FOREVER}"
    with Server(python(code), ready=["test", "-e", str(path)]):
        assert path.exists()


def test_stop_command(tmp_path: Path) -> None:
    """The command `stop` stops the server, in place of SIGTERM."""
    path = tmp_path / "stopped"
    code = f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.01)"
    with Server(python(code), ready="true", stop=["touch", str(path)]) as server:
        pass
    assert path.exists()
    assert server.port > 0


def test_a_server_that_does_not_stop_is_killed() -> None:
    """SIGKILL ends what SIGTERM does not, and every process that the server started."""
    code = "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nif child := os.fork(): print(child, flush=True)\n"
    with Server(python(code + FOREVER), ready_line="\n", stop_seconds_max=0.1) as server:
        child = int(server.output().split()[0])
    assert not Path(f"/proc/{child}").exists()


DIES = (
    "print('reading the log')\nfor number in range(50): print('record', number)\nraise SystemExit('record 50 is torn')"
)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (DIES, "the server exited with status 1; it printed: reading the log | record 0 | record 1 | ... 46 lines ..."),
        (DIES, "| record 50 is torn"),
        ("import os; os.abort()", "before it was ready, the server died by SIGABRT"),
        ("", "exited with status 0; a server must stay in the foreground"),
    ],
)
def test_a_server_that_ends_before_it_is_ready(code: str, message: str) -> None:
    """A server that does not come up is quoted with its first and last lines; a daemon gets the remedy."""
    with pytest.raises(ServerFailed) as failed, Server(python(code)):
        pass
    assert message in str(failed.value)
    assert "\n" not in str(failed.value)


@pytest.mark.parametrize(
    ("ready", "lacks"),
    [
        ({}, "nothing answered at port "),
        ({"ready_line": "open"}, "it did not print 'open'"),
        ({"ready_socket": "/nowhere"}, "no socket answered at /nowhere"),
        ({"ready": "false"}, "the command 'false' did not succeed"),
    ],
)
def test_a_server_that_is_never_ready_hangs(ready: dict[str, str], lacks: str) -> None:
    """The verdict is `hangs`; the message says what was waited for, and quotes the server."""
    server = Server(python("print('replaying', flush=True)\n" + FOREVER), seconds_max=0.5, **ready)  # type: ignore[arg-type]
    with pytest.raises(PromiseBroken) as hung, server:
        pass
    assert hung.value.verdict == "hangs"
    assert f"the server was not ready after 0.5 s: {lacks}" in hung.value.explanation


@pytest.mark.lengthy
def test_time_in_which_we_were_stopped_hardly_counts(tmp_path: Path) -> None:
    """One long step, as when a snapshot is taken of us and the server, counts little: the server does not hang."""
    looks = tmp_path / "looks"
    ready = ["sh", "-c", f"echo >>{looks}; sleep 0.3; test $(wc -l <{looks}) = 4"]
    begun = time.monotonic()
    with Server(python(FOREVER), ready=ready, seconds_max=0.5):
        assert time.monotonic() - begun > 1


def test_a_server_that_dies_while_it_is_used(tmp_path: Path) -> None:
    """Its end is an error once the block is left, unless the block failed itself."""
    used = tmp_path / "used"
    code = "import os, sys, time\nprint('up', flush=True)\nwhile not os.path.exists(sys.argv[1]):\n time.sleep(0.01)"
    code += "\nraise SystemExit('disk full')"
    with pytest.raises(ServerFailed) as failed, Server(python(code, str(used)), ready_line="up") as server:
        used.touch()
        wait_for_end(server)
    assert str(failed.value) == "the server exited with status 1; it printed: up | disk full"
    used.unlink()
    with pytest.raises(KeyError), Server(python(code, str(used)), ready_line="up") as server:
        used.touch()
        wait_for_end(server)
        raise KeyError("the client's own")


def wait_for_end(server: Server) -> None:
    wait_for(lambda: bool(server.gone()))


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_server_that_drops_root(tmp_path: Path) -> None:
    """A server may give up root: it is used and stopped like any other."""
    tmp_path.chmod(0o777)
    dropped = "os.setgroups([]); os.setgid(65534); os.setuid(65534)\nlistener = "
    code = LISTEN.replace("listener = ", dropped, 1)
    with Server(python(code, "{port}", "/dev/null")) as server:
        assert answer(server) == b"hello"
        assert server.output() == b"listening as 65534\n"


def test_starts_are_noted(tmp_path: Path) -> None:
    """The start on what a crash left is separate from a bare start."""
    for part in ("workload", "recover"):
        token = current.set(Life(part, tmp_path))
        with Server(python(FOREVER), ready="true"):
            pass
        current.reset(token)
    assert "(median of 1; slowest" in times_in_words(str(tmp_path))
    assert "a bare start" in times_in_words(str(tmp_path))
