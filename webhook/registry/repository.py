"""One repository asked with one credential: the pull half of the registry protocol, every answer verified.

Source: opencontainers/distribution-spec spec.md; containerd/containerd core/remotes/docker/resolver.go (HEAD 405).
"""

import hashlib
from collections.abc import Callable
from typing import Literal

import msgspec

from webhook.errors import MalformedImage
from webhook.reference import Reference
from webhook.registry.auth import Credential, Session, authorised
from webhook.registry.documents import ACCEPT, Descriptor, check_digest, is_digest
from webhook.registry.exchange import Cost, RegistryError, Request, Response, Sink, refusal
from webhook.registry.settings import Limits, RegistrySettings, listed
from webhook.registry.transport import Transport

_HUB = {"docker.io": "registry-1.docker.io"}  # containerd/containerd core/remotes/docker/registry.go, DefaultHost


class Door(msgspec.Struct, frozen=True):
    """Where and as whom a repository is asked.

    `authority` is the host that answers, at `root`: the registry's own, or a mirror's, which is told whom it `mirrors`.
    """

    authority: str
    credential: Credential
    mirrors: str = ""
    root: str = "/v2"

    @property
    def fingerprint(self) -> bytes:
        """Tells doors apart in caches, without keeping a credential there."""
        return f"{self.authority}{self.root} ".encode() + self.credential.fingerprint


def api_host(registry: str) -> str:
    """The host that serves the images named after `registry`."""
    return _HUB.get(registry, registry)


class Repository:
    """`reference`'s repository behind a door. `deadline` is on the client's clock, `cost` grows with each request."""

    def __init__(
        self,
        transport: Transport,
        session: Session,
        settings: RegistrySettings,
        reference: Reference,
        door: Door,
        cost: Cost,
        deadline: float,
    ) -> None:
        self.cost = cost
        self.name = reference.name
        self._transport = transport
        self._session = session
        self._limits: Limits = settings.limits
        self._path = reference.repository
        self._door = door
        self._deadline = deadline
        scheme = "http" if listed(door.authority, settings.insecure) else "https"
        self._base = f"{scheme}://{door.authority}{door.root}/{reference.repository}"

    async def resolve(self, name: str) -> str | None:
        """The digest that a tag or digest stands for, by HEAD; None where only a GET will tell."""
        response = await self._send(self._manifest("HEAD", name), allow=frozenset({200, 405}))
        digest = response.header("docker-content-digest")
        if response.status == 405 or not is_digest(digest):
            return None
        if is_digest(name) and digest != name:
            raise MalformedImage(f"the registry calls {name} by another digest")
        return digest

    async def manifest(self, name: str) -> tuple[bytes, str, str]:
        """A manifest or index by tag or digest: its bytes, its media type, its digest, which is verified."""
        response = await self._send(self._manifest("GET", name))
        digest = name if is_digest(name) else response.header("docker-content-digest")
        if is_digest(digest):
            check_digest(response.body, digest, "manifest")
        else:
            digest = f"sha256:{hashlib.sha256(response.body).hexdigest()}"
        return response.body, response.header("content-type"), digest

    async def blob(self, content: Descriptor, what: str) -> bytes:
        """A small blob, verified."""
        if content.size > self._limits.document_bytes:
            raise RegistryError("tooLarge", f"the {what} {content.digest} has {content.size >> 20} MiB")
        response = await self._send(
            Request("GET", self._blob(content), self._door.authority, self._limits.document_bytes)
        )
        content.check(len(response.body), hashlib.new(content.algorithm, response.body).hexdigest(), what)
        return response.body

    async def stream(self, content: Descriptor, sink: Callable[[], Sink]) -> None:
        """A large blob, into a fresh sink per attempt; who fills it verifies the digest."""
        await self._send(Request("GET", self._blob(content), self._door.authority, content.size, sink=sink))

    def _manifest(self, method: Literal["GET", "HEAD"], name: str) -> Request:
        url = f"{self._base}/manifests/{name}{self._mirrored()}"
        return Request(method, url, self._door.authority, self._limits.document_bytes, {"Accept": ACCEPT})

    def _blob(self, content: Descriptor) -> str:
        return f"{self._base}/blobs/{content.digest}{self._mirrored()}"

    def _mirrored(self) -> str:
        """What a mirror is told (containerd/containerd core/remotes/docker/resolver.go, addNamespace)."""
        return f"?ns={self._door.mirrors}" if self._door.mirrors else ""

    async def _send(self, request: Request, allow: frozenset[int] = frozenset({200})) -> Response:
        """Drive the log-in; `RegistryError` for every status that is not allowed for."""
        flow = authorised(request, self._path, self._door.credential, self._session)
        wanted = next(flow)
        while True:
            response = await self._transport.send(wanted, self.cost, self._deadline)
            try:
                wanted = flow.send(response)
            except StopIteration as stop:
                answer: Response = stop.value
                if answer.status in allow:
                    return answer
                raise refusal(answer, f"reading {self.name}") from None
