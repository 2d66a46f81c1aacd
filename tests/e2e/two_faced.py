"""A hostile registry: it knows the nodes by their User-Agent, and tells them something else than everybody else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from deploy.dev.oci import Blob, Content

NODE = "containerd/"  # containerd/containerd version/version.go, as its User-Agent begins
HANG = 0  # in place of a status: it answers nothing
HANG_SECONDS = 60.0  # for which it does so
Face = Content | int  # an image, or the HTTP status in its place


class TwoFaced:
    """What it shows of each repository: to the webhook first, to the nodes second. Every tag is the same."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._shown: dict[str, tuple[Face, Face]] = {}
        self.pulled: set[str] = set()  # the repositories that a node has asked for
        self.hung: set[str] = set()  # those of which it has answered nothing
        self.closed = threading.Event()

    def show(self, repository: str, webhook: Face, nodes: Face) -> str:
        """Show these from now on; the image's reference."""
        self._shown[repository] = webhook, nodes
        return f"{self.host}/{repository}:1"

    def find(self, path: str, agent: str) -> Blob | int:
        """The answer to a request for a manifest or blob."""
        repository, _, reference = path.removeprefix("/v2/").rpartition("/")
        repository = repository.rpartition("/")[0]
        node = agent.startswith(NODE)
        if node:
            self.pulled.add(repository)
        found = self._shown.get(repository, (404, 404))[node]
        if found == HANG:
            self.hung.add(repository)
        if isinstance(found, int):
            return found
        if not reference.startswith("sha256:"):
            return found.manifest
        blobs = (found.manifest, *found.children, *found.blobs)
        return next((each for each in blobs if each.digest == reference), 404)


class _Answer(msgspec.Struct, frozen=True):
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def _answer(registry: TwoFaced, path: str, agent: str) -> _Answer:
    if path == "/v2/":
        return _Answer(200)
    found = registry.find(path, agent)
    if isinstance(found, int):
        challenge = (("WWW-Authenticate", 'Basic realm="nobody"'),) if found == 401 else ()
        return _Answer(found, headers=challenge)
    return _Answer(200, found.data, (("Content-Type", found.media_type), ("Docker-Content-Digest", found.digest)))


@contextmanager
def two_faced(address: str) -> Iterator[TwoFaced]:
    """Serve one at HOST:PORT."""
    registry = TwoFaced(address)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = _answer(registry, self.path.partition("?")[0], self.headers.get("User-Agent", ""))
            if answer.status == HANG:
                registry.closed.wait(HANG_SECONDS)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer.body)

        do_HEAD = do_GET  # noqa: N815  # the base class' names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class' name
            """Say nothing."""

    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.closed.set()
        server.shutdown()
        server.server_close()
        thread.join()
