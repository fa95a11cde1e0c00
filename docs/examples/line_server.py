"""A server that keeps lines, for server_store.py: it answers each line with ok once the line would survive a power cut.

    python line_server.py FOLDER PORT [early]

An empty line gets every line that it keeps, and an empty one. With ``early``, it answers before it has written the line.
"""

import os
import signal
import socketserver
import sys

FOLDER, PORT, *BUG = sys.argv[1:]
FILE = os.open(os.path.join(FOLDER, "lines"), os.O_CREAT | os.O_RDWR | os.O_APPEND)


def recover():
    """Cut off a torn last line, and make the file's name durable."""
    text = os.pread(FILE, os.fstat(FILE).st_size, 0)
    os.ftruncate(FILE, text.rfind(b"\n") + 1)
    for descriptor in (FILE, os.open(FOLDER, os.O_RDONLY)):
        os.fsync(descriptor)
    kept = text.count(b"\n")
    sys.stderr.write(f"kept lines: {kept}\n")


class Connection(socketserver.StreamRequestHandler):
    """Serves one client, line by line."""

    def handle(self):
        for line in self.rfile:
            if line == b"\n":
                self.wfile.write(os.pread(FILE, os.fstat(FILE).st_size, 0) + b"\n")
                continue
            if BUG:
                self.wfile.write(b"ok\n")
            os.write(FILE, line)
            os.fsync(FILE)
            if not BUG:
                self.wfile.write(b"ok\n")


class Server(socketserver.ThreadingTCPServer):
    """A thread for each client; it ends once each has served its client to the end."""

    allow_reuse_address = True


recover()
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
with Server(("127.0.0.1", int(PORT)), Connection) as server:
    server.serve_forever()
