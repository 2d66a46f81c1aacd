"""A repository of a registry: the pull half of the registry protocol, every answer verified.

Source: opencontainers/distribution-spec spec.md; containerd/containerd core/remotes/docker/resolver.go (HEAD 405).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Literal

import msgspec

from webhook.errors import MalformedImage
from webhook.image.reference import Reference
from webhook.registry.auth.token import TokenCache, authorised
from webhook.registry.endpoints import Endpoint
from webhook.registry.manifest import ACCEPT, Descriptor, check_digest, is_digest
from webhook.registry.settings import RegistrySettings, match_authority
from webhook.registry.transport.http import Transport
from webhook.registry.transport.messages import Cost, RegistryError, Request, Response, Sink, refusal


class _RepositoryRequest(msgspec.Struct, frozen=True):
    """A request in the repository, at whichever endpoint; the rest is as in `Request`."""

    method: Literal["GET", "HEAD"]
    path: str
    limit: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    sink: Callable[[], Sink] | None = None


class Repository:
    """`reference`'s repository behind `endpoints`. `deadline` is on the client's clock, `cost` grows with each request.

    Each request goes to the endpoints in turn until one answers: a mirror may fail in any way, the registry itself may
    refuse a credential (containerd/containerd core/remotes/docker/fetcher.go, Fetch; kubernetes
    pkg/kubelet/images/image_manager.go). Content that does not match its digest is an error, whoever sent it, as there.
    """

    def __init__(
        self,
        transport: Transport,
        session: TokenCache,
        settings: RegistrySettings,
        reference: Reference,
        endpoints: Sequence[Endpoint],
        cost: Cost,
        deadline: float,
    ) -> None:
        self.cost = cost
        self.name = reference.name
        self._transport = transport
        self._session = session
        self._settings = settings
        self._path = reference.repository
        self._endpoints = endpoints
        self._deadline = deadline

    async def resolve(self, name: str) -> str | None:
        """The digest that a tag or digest stands for, by HEAD; None where only a GET will tell."""
        response = await self._send(self._manifest("HEAD", name))
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
        limit = self._settings.limits.document_bytes
        if content.size > limit:
            raise RegistryError("tooLarge", f"the {what} {content.digest} has {content.size >> 20} MiB")
        response = await self._send(_RepositoryRequest("GET", f"blobs/{content.digest}", limit))
        content.check(len(response.body), hashlib.new(content.algorithm, response.body).hexdigest(), what)
        return response.body

    async def stream(self, content: Descriptor, sink: Callable[[], Sink]) -> None:
        """A large blob, into a fresh sink per attempt; who fills it verifies the digest."""
        await self._send(_RepositoryRequest("GET", f"blobs/{content.digest}", content.size, sink=sink))

    def _manifest(self, method: Literal["GET", "HEAD"], name: str) -> _RepositoryRequest:
        return _RepositoryRequest(method, f"manifests/{name}", self._settings.limits.document_bytes, {"Accept": ACCEPT})

    async def _send(self, asked: _RepositoryRequest) -> Response:
        """The answer of the first endpoint that has one; else the last endpoint's `RegistryError`."""
        for endpoint in self._endpoints[:-1]:
            try:
                return await self._request_via(endpoint, asked)
            except RegistryError as error:
                if not error.is_refusal and not endpoint.mirrors:
                    raise
        return await self._request_via(self._endpoints[-1], asked)

    async def _request_via(self, endpoint: Endpoint, asked: _RepositoryRequest) -> Response:
        """Drive the log-in; `RegistryError` for every status but 200, and 405 to HEAD."""
        scheme = "http" if match_authority(endpoint.authority, self._settings.insecure) else "https"
        namespace = (
            f"?ns={endpoint.mirrors}" if endpoint.mirrors else ""
        )  # containerd core/remotes/docker/resolver.go, addNamespace
        url = f"{scheme}://{endpoint.authority}{endpoint.root}/{self._path}/{asked.path}{namespace}"
        request = Request(asked.method, url, endpoint.authority, asked.limit, headers=asked.headers, sink=asked.sink)
        with closing(authorised(request, self._path, endpoint.credential, self._session)) as flow:
            wanted = next(flow)
            while True:
                try:
                    response = await self._transport.send(wanted, self.cost, self._deadline)
                except RegistryError as error:
                    wanted = flow.throw(error)  # unless the log-in can do without, the error comes back
                    continue
                try:
                    wanted = flow.send(response)
                except StopIteration as stop:
                    answer: Response = stop.value
                    if answer.status == 200 or (answer.status == 405 and asked.method == "HEAD"):
                        return answer
                    raise refusal(answer, f"reading {self.name}") from None
