"""The cluster's own registry, as one sees it over a very slow line: every blob takes its time."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def slow_registry(address: str, behind: str, seconds: float) -> Iterator[None]:
    """Serve at `address` (HOST:PORT) what the registry `behind` has; each blob waits `seconds` first."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if "/blobs/" in self.path and self.command == "GET":
                time.sleep(seconds)
            upstream = http.client.HTTPConnection(behind, timeout=30)
            wanted = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            upstream.request(self.command, self.path, headers=wanted)
            reply = upstream.getresponse()
            body = reply.read()
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in {"connection", "transfer-encoding", "server", "date"}:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            upstream.close()

        do_HEAD = do_GET  # noqa: N815  # the base class' names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class' name
            """Say nothing."""

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client gave up; it comes again
                super().handle()

    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
