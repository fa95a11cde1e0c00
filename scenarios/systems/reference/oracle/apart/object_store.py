"""An object store in memory that speaks as much of Amazon's S3 as Delta tables need, for transfers that leave the machine.

    with ObjectStore() as store:
        engine.transfer("t", f"{store.uri}/there", store.options)
    store.objects  # {"there/_delta_log/00000000000000000000.json": b"...", ...}

A put is there whole or not at all. One with ``If-None-Match: *`` fails if its key is there: so does a commit that is not the
first of its version. (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html)

`options` has a key and a secret. A request that does not name the key is refused, as are those that `refuses` is set to.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

__all__ = ["ObjectStore"]

_BUCKET, _KEY, _HOST = "bucket", "crashmatrix-key", "127.0.0.1"
_DATED = "2020-01-01T00:00:00.000Z"
_NOBODY = "NO_PROXY"


class ObjectStore:
    """The store, while the block lasts; its server has threads of its own, which end with the block.

    Attributes:
        objects: the bytes at each key.
        refuses: whether to refuse a request, from its method and key; as S3 does that lacks a permission.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refuses: Callable[[str, str], bool] = lambda _, __: False
        self.uri = f"s3://{_BUCKET}"

    def __enter__(self) -> ObjectStore:
        self._server = _Server(self)
        self._proxies = os.environ.get(_NOBODY)
        os.environ[_NOBODY] = _HOST  # Where a machine has a proxy, it is not for requests to itself.
        threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        del os.environ[_NOBODY]
        if self._proxies is not None:
            os.environ[_NOBODY] = self._proxies

    @property
    def options(self) -> dict[str, str]:
        """Storage options for deltalake."""
        return {
            "AWS_ENDPOINT_URL": f"http://{_HOST}:{self._server.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_CONDITIONAL_PUT": "etag",
        }


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def __init__(self, store: ObjectStore) -> None:
        self.store, self._open = store, set[socket.socket]()
        super().__init__((_HOST, 0), _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Note the connection, which its client keeps open."""
        if isinstance(request, socket.socket):
            self._open.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """End every connection, and with it the thread that serves it."""
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # Its client was faster.
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True  # One packet for each answer, at once: else each takes 40 ms.
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class has this name
        """Log nothing."""

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, code: int, said: str) -> None:
        self._answer(code, f"<Error><Code>{said}</Code></Error>".encode())

    def _is_refused(self) -> bool:
        unknown = _KEY not in self.headers.get("Authorization", "")
        if refused := unknown or self.server.store.refuses(self.command, self._key()):
            self._error(403, "AccessDenied")
        return refused

    def do_PUT(self) -> None:
        """Store an object."""
        body, key, objects = self._body(), self._key(), self.server.store.objects
        if self._is_refused():
            return
        if self.headers.get("If-None-Match") == "*" and objects.setdefault(key, body) is not body:
            self._error(412, "PreconditionFailed")
            return
        objects[key] = body
        self._answer(200, ETag='"1"')

    def do_GET(self) -> None:
        """Return an object, a part of it, or a list of keys."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if self._is_refused():
            return
        if "list-type" in query:
            self._answer(200, _listing(self.server.store.objects, query))
            return
        found = self.server.store.objects.get(self._key())
        dated = {"ETag": '"1"', "Last_Modified": "Wed, 01 Jan 2020 00:00:00 GMT"}
        if found is None:
            self._error(404, "NoSuchKey")
        elif (part := self.headers.get("Range")) and self.command == "GET":
            first, _, last = part.partition("=")[2].partition("-")
            start = int(first) if first else len(found) - int(last)
            end = min(int(last) + 1, len(found)) if first and last else len(found)
            self._answer(206, found[start:end], Content_Range=f"bytes {start}-{end - 1}/{len(found)}", **dated)
        else:
            self._answer(200, found, **dated)

    do_HEAD = do_GET  # noqa: N815  # the base class calls it by this name

    def do_DELETE(self) -> None:
        """Remove an object."""
        if not self._is_refused():
            self.server.store.objects.pop(self._key(), None)
            self._answer(204)


def _listing(objects: dict[str, bytes], query: dict[str, str]) -> bytes:
    """Return the keys that begin with a prefix, after a key; those that have a delimiter after it as folders."""
    prefix, delimiter, after = (query.get(name, "") for name in ("prefix", "delimiter", "start-after"))
    keys, folders = list[str](), set[str]()
    for key in sorted(key for key in [*objects] if key.startswith(prefix) and key > after):
        above, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found:
            folders.add(f"{prefix}{above}{delimiter}")
        else:
            keys.append(key)
    lines = [
        f"<Contents><Key>{escape(key)}</Key><LastModified>{_DATED}</LastModified><ETag>1</ETag>"
        f"<Size>{len(objects[key])}</Size></Contents>"
        for key in keys
    ]
    lines += [f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders)]
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(lines)}</ListBucketResult>".encode()
