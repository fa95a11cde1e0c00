"""The client of beanstalkd.toml: puts jobs and consumes every second one, or lists those that wait. It needs nothing but Python.

python3 beanstalk_client.py run FIRST COUNT
python3 beanstalk_client.py list
"""

import json
import os
import socket
import sys
from contextlib import contextmanager


class Queue:
    """A connection to the server at $CRASHMATRIX_PORT. Once it is closed, jobs that it received and did not delete wait again."""

    def __init__(self):
        self._stream = socket.create_connection(("127.0.0.1", int(os.environ["CRASHMATRIX_PORT"]))).makefile("rwb")

    def _call(self, line, answer):
        """Send a command; returns the words of the answer, which must begin as it should."""
        self._stream.write(line.encode() + b"\r\n")
        self._stream.flush()
        words = self._stream.readline().decode().split()
        if words[:1] not in ([name] for name in answer):
            sys.exit(f"beanstalkd answered {words} to {line!r}")
        return words

    def put(self, job):
        """Put a job; returns once the server has it in its log."""
        text = str(job)
        self._call(f"put 0 0 600 {len(text)}\r\n{text}", ["INSERTED"])

    def receive(self):
        """Return the id and the body of the next job; None if none waits."""
        words = self._call("reserve-with-timeout 0", ["RESERVED", "TIMED_OUT"])
        if words[0] == "TIMED_OUT":
            return None
        body = self._stream.read(int(words[2]) + 2)[:-2].decode()
        return words[1], int(body) if body.isdecimal() else body

    def delete(self, number):
        """Confirm a job."""
        self._call(f"delete {number}", ["DELETED"])


@contextmanager
def attempt(item):
    """Tell the journal of an attempt, and of its acknowledgement, unless the block ends the program."""
    with open(os.environ["CRASHMATRIX_JOURNAL"], "a", buffering=1) as journal:
        print("attempt", json.dumps(item), file=journal)
        yield
        print("ack", json.dumps(item), file=journal)


def run(first, count):
    """Put jobs; after every second one, consume one."""
    queue = Queue()
    for job in range(first, first + count):
        with attempt(["put", job]):
            queue.put(job)
        if job % 2:
            number, body = queue.receive()
            with attempt(["done", body]):
                queue.delete(number)


def list_jobs():
    """Print each job that the queue would still deliver."""
    queue = Queue()
    while received := queue.receive():
        sys.stdout.write(json.dumps(received[1]) + "\n")


if __name__ == "__main__":
    run(*map(int, sys.argv[2:])) if sys.argv[1] == "run" else list_jobs()
