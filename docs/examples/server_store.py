"""A server, and its clients in Python: two threads that store lines (line_server.py is the server).

crashmatrix run docs/examples/server_store.py:LineServer --experiments kill --budget 8      # safe
crashmatrix run docs/examples/server_store.py:AnswersEarly --experiments kill --budget 8    # loses
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from threading import Thread

from crashmatrix import Server, SystemUnderTest


class LineServer(SystemUnderTest):
    """Each part runs the server for as long as it needs it; the two writers overlap."""

    contract = "prefix"

    def server(self, root):
        return Server([sys.executable, str(Path(__file__).with_name("line_server.py")), str(root), "{port}"])

    def workload(self, root, journal):
        with self.server(root) as server:
            threads = [Thread(target=self._write, args=(server, journal, name), name=name) for name in "ab"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _write(self, server, journal, name):
        with connected(server) as stream:
            for number in range(3):
                with journal.attempt(f"{name}{number}"):
                    print(f"{name}{number}", file=stream, flush=True)
                    assert stream.readline() == "ok\n"

    def recover(self, root):
        with self.server(root) as server, connected(server) as stream:
            print(file=stream, flush=True)
            return [line.rstrip("\n") for line in iter(stream.readline, "\n")]


class AnswersEarly(LineServer):
    """A deliberate bug: the server answers before it has written the line."""

    def server(self, root):
        server = Path(__file__).with_name("line_server.py")
        return Server([sys.executable, str(server), str(root), "{port}", "early"])


def connected(server):
    """Return a connection to the server, as a file."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    with connection:
        return connection.makefile("rw")
