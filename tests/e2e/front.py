"""The cluster's own registry behind a front of ours: over a very slow line, or asking for a password."""

import base64
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Server(ThreadingHTTPServer):
    """One whose connections end with it: a replica that keeps one open would still be answered."""

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, client = super().get_request()
        self._open.add(connection)
        return connection, client

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        """Close the listening socket and every connection."""
        self.server_close()
        for each in tuple(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def front(address: str, behind: str, *, seconds: float = 0.0, login: str = "") -> Iterator[None]:
    """Serve at `address` (HOST:PORT) what the registry `behind` has.

    Each blob waits `seconds` first; a `login` is the user:password without which nothing is answered.
    """
    basic = "Basic " + base64.b64encode(login.encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if login and self.headers.get("Authorization") != basic:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="front"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if "/blobs/" in self.path and self.command == "GET":
                time.sleep(seconds)
            wanted = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            with closing(http.client.HTTPConnection(behind, timeout=30)) as upstream:
                upstream.request(self.command, self.path, headers=wanted)
                reply = upstream.getresponse()
                body = reply.read()
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in {"connection", "transfer-encoding", "server", "date"}:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815  # the base class' names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class' name
            """Say nothing."""

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client gave up; it comes again
                super().handle()

    host, _, port = address.rpartition(":")
    server = _Server((host, int(port)), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.close_all()
        thread.join()
