"""The client of kvserver.toml: stores pairs in the server, or prints those it has. It needs nothing but Python.

python3 kvclient.py fill FIRST COUNT
python3 kvclient.py dump
"""

import json
import os
import socket
import sys


def main() -> None:
    """Do what the arguments say, with the server at $CRASHMATRIX_PORT."""
    with socket.create_connection(("127.0.0.1", int(os.environ["CRASHMATRIX_PORT"]))) as connection:
        server = connection.makefile("rw")
        if sys.argv[1] == "fill":
            fill(server, *map(int, sys.argv[2:]))
        else:
            print("dump", file=server, flush=True)
            for line in iter(server.readline, "end\n"):
                sys.stdout.write(line)


def fill(server, first, count):
    """Put some pairs, and tell the journal: an attempt before each, an acknowledgement after the server's ok."""
    with open(os.environ["CRASHMATRIX_JOURNAL"], "a", buffering=1) as journal:
        for number in range(first, first + count):
            item = [f"key{number % 3}", number]
            print("attempt", json.dumps(item), file=journal)
            print("put", *item, file=server, flush=True)
            if server.readline() != "ok\n":
                sys.exit(f"the server did not store {item}")
            print("ack", json.dumps(item), file=journal)


if __name__ == "__main__":
    main()
