"""The connection to the Kubernetes API, for every call and stream but kopf's.

The client library brings configuration, credentials and TLS; its generated models stay unused, because importing them costs
every replica half a second and 30 MiB, and msgspec reads the few fields that matter.
"""

import asyncio
import contextlib
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

import webhook
from webhook.cluster.errors import Absent, Busy, Expired, Unreachable, refusal
from webhook.cluster.library import Configuration, RESTClientObject, RESTResponse, config
from webhook.cluster.object_meta import ListMetadata
from webhook.errors import InvalidSetting
from webhook.http.library import aiohttp
from webhook.http.proxies import Proxies

SILENCE_TIMEOUT = 10.0  # seconds without a byte, after which a connection is taken for dead
ANSWER_TIMEOUT = 300.0  # seconds for a whole answer: a page of large Pods over a slow link takes a minute
READ_TRIES = 5  # of a read that is answered "come again later"
NAME_LIMIT = 253  # characters
PAGE = 500  # objects of a list in one answer
JSON = "application/json"
# Source: kubernetes/apimachinery pkg/apis/meta/v1/types.go (PartialObjectMetadata)
METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = METADATA.replace("Metadata;", "MetadataList;")
FIELD_MANAGER = "nonroot-operate"
USER_AGENT = f"nonroot-webhook/{webhook.__version__}"
MANAGED_BY = {"app.kubernetes.io/part-of": "nonroot-webhook", "app.kubernetes.io/managed-by": FIELD_MANAGER}

# client-go tools/clientcmd/client_config.go (inClusterClientConfig.Namespace)
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

# kubernetes/apimachinery pkg/util/validation/validation.go, IsDNS1123Subdomain
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

T = TypeVar("T")


class Page(msgspec.Struct, frozen=True):
    """Some objects of a list as they came, which name no kind."""

    metadata: ListMetadata
    items: tuple[msgspec.Raw, ...] | None = None


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The address of the API server and our credentials there: paths of files, the Authorization header, a proxy's URL."""

    server: str
    ca_file: str | None
    verified: bool
    authorization: str
    certificate_file: str | None
    key_file: str | None
    proxy: str | None

    def __repr__(self) -> str:
        """Without credentials: reprs end in logs."""
        return f"Access({self.server!r})"


class Cluster:
    """A connection to the API server, made at the first call. Every method raises `ClusterError`.

    `context` is one of the kubeconfig's, `kubeconfig` the file; where both are empty it is the service account's cluster,
    else the kubeconfig's current context. `user` is whom to act as, empty for oneself.
    """

    def __init__(self, context: str = "", kubeconfig: str = "", user: str = "") -> None:
        self._context = context
        self._kubeconfig = kubeconfig
        self._user = user
        self._client: RESTClientObject | None = None
        self._connecting = asyncio.Lock()
        self._last_answer = (datetime.now(UTC), time.monotonic())  # the API server's time, and ours on receiving it
        self._from_kubeconfig = False

    def now(self) -> datetime:
        """The API server's own time, as of its last answer; ours before the first.

        It is the API server that finds a certificate valid or not, and a node's clock may be a year off.
        """
        then, at = self._last_answer
        return then + timedelta(seconds=time.monotonic() - at)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()

    async def call(
        self,
        method: str,
        path: str,
        what: str,
        body: object = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        absent_ok: bool = False,
    ) -> bytes | None:
        """One call: the answer's bytes, None for a 404 where `absent_ok`.

        `what` names the object in errors. A name that is put into `path` must be one that the API server gave, or `is_name`.
        A read that the API server asks to repeat later is repeated, as long as it gives the seconds.
        Source: k8s.io/client-go rest/with_retry.go.
        """
        tries = READ_TRIES if method == "GET" else 1
        while True:
            tries -= 1
            try:
                return await self._call(method, path, what, body, content_type, accept)
            except Absent:
                if not absent_ok:
                    raise
                return None
            except Busy as busy:
                if not tries:
                    raise
                await asyncio.sleep(busy.retry_after)

    async def _call(self, method: str, path: str, what: str, body: object, content_type: str, accept: str) -> bytes:
        with _answering(what):
            timeout = aiohttp.ClientTimeout(ANSWER_TIMEOUT, sock_connect=SILENCE_TIMEOUT, sock_read=SILENCE_TIMEOUT)
            response = await self._send(method, path, timeout, body, content_type=content_type, accept=accept)
            answer: bytes = await response.read()  # type: ignore[no-untyped-call]
        if 200 <= response.status < 300:
            return answer
        raise refusal(response.status, response.headers, method, what, answer)

    def _hear(self, date: str) -> None:
        with contextlib.suppress(ValueError):  # no date, or none that is one
            self._last_answer = (parsedate_to_datetime(date), time.monotonic())

    async def lines(
        self, path: str, what: str, silence: float, *, only_metadata: bool = False
    ) -> AsyncGenerator[bytes]:
        """The lines of a stream of changes until the API server ends it; `silence` seconds without one are an error."""
        rest = b""
        with _answering(what):
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_TIMEOUT, sock_read=silence)
            response = await self._send("GET", path, timeout, accept=METADATA if only_metadata else JSON)
            if response.status != 200:
                answer: bytes = await response.read()  # type: ignore[no-untyped-call]
                raise refusal(response.status, response.headers, "GET", what, answer)
            with contextlib.closing(response.response):
                async for chunk in response.response.content.iter_any():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        yield line

    async def _send(
        self,
        method: str,
        path: str,
        timeout: aiohttp.ClientTimeout,
        body: object = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> RESTResponse:
        client = await self._connect()
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": USER_AGENT}
        if self._user:
            headers["Impersonate-User"] = self._user
        if authorization := await _authorization(client.configuration):
            headers["Authorization"] = authorization
        response: RESTResponse = await client.request(  # type: ignore[no-untyped-call]
            method, f"{client.configuration.host}{path}", headers=headers, body=body, _request_timeout=timeout
        )
        self._hear(response.headers.get("Date", ""))
        return response

    async def pages(
        self, path: str, what: str, *, only_metadata: bool = False
    ) -> AsyncIterator[tuple[msgspec.Raw, ...]]:
        """The objects of a list, as `chunks` has them."""
        async for page in self.chunks(path, what, only_metadata=only_metadata):
            yield page.items or ()

    async def chunks(self, path: str, what: str, *, only_metadata: bool = False) -> AsyncIterator[Page]:
        """A list, some hundred objects at a time and each of them once.

        They are of one moment unless reading them takes minutes: then the rest is as it is by then.
        Source: k8s.io/apiserver pkg/storage/etcd3/errors.go (handleCompactedErrorForPaging)
        """
        token, accept = "", METADATA_LIST if only_metadata else JSON
        while True:
            try:
                rest = f"&continue={quote(token)}" if token else ""
                query = f"{'&' if '?' in path else '?'}limit={PAGE}{rest}"
                body = await self.call("GET", f"{path}{query}", what, accept=accept)
            except Expired as expired:
                if not token or expired.token in {"", token}:
                    raise
                token = expired.token
                continue
            page = decode(body or b"", Page, what)
            yield page
            token = page.metadata.token
            if not token:
                return

    async def name(self) -> str:
        """The name of the cluster: the kubeconfig's context, else the API server's address."""
        client = await self._connect()
        if self._from_kubeconfig:
            return str(self._kubeconfig_context()["name"])
        return str(client.configuration.host)

    async def namespace(self) -> str:
        """The namespace that kubectl would take where none is given."""
        await self._connect()
        if self._from_kubeconfig:
            return str(self._kubeconfig_context()["context"].get("namespace") or "default")
        return _own_namespace()

    def _kubeconfig_context(self) -> dict[str, Any]:
        contexts, current = config.list_kube_config_contexts(self._kubeconfig or None)  # type: ignore[no-untyped-call]
        return next((each for each in contexts if each["name"] == self._context), current)

    async def access(self) -> Access:
        """The access of another client to the same API server, with a token that is valid now."""
        configuration = (await self._connect()).configuration
        return Access(
            server=configuration.host,
            ca_file=configuration.ssl_ca_cert,
            verified=bool(configuration.verify_ssl),
            authorization=await _authorization(configuration),
            certificate_file=configuration.cert_file,
            key_file=configuration.key_file,
            proxy=configuration.proxy,
        )

    async def _connect(self) -> RESTClientObject:
        async with self._connecting:
            if self._client is None:
                configuration = Configuration()
                try:
                    await self._configure(configuration)
                    _proxy(configuration)
                except InvalidSetting as error:
                    raise Unreachable(str(error)) from None
                except (config.ConfigException, OSError) as error:
                    raise Unreachable(
                        f"there is neither a service account nor a usable kubeconfig: {error}; set KUBECONFIG"
                    ) from error
                self._client = RESTClientObject(configuration)
            return self._client

    async def _configure(self, configuration: Configuration) -> None:
        if not self._context and not self._kubeconfig:
            try:
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            except config.ConfigException:
                pass
            else:
                return
        _exists(self._kubeconfig or config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION)
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            self._kubeconfig or None, self._context or None, configuration
        )
        self._from_kubeconfig = True


async def _authorization(configuration: Configuration) -> str:
    """The value of the header, with a token that is valid now; "" for a client certificate alone."""
    return await configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""


def _exists(kubeconfig: str) -> None:
    """`InvalidSetting` where none of these files, as KUBECONFIG lists them, is there."""
    if not any(Path(path).expanduser().exists() for path in kubeconfig.split(os.pathsep) if path):
        raise InvalidSetting(f"there is no kubeconfig at {kubeconfig[:500]!a}; give --kubeconfig or set KUBECONFIG")


def _own_namespace() -> str:
    """The namespace of the Pod that this runs in."""
    try:
        return _OWN_NAMESPACE.read_text().strip() or "default"
    except OSError:
        return "default"


def _proxy(configuration: Configuration) -> None:
    """Choose the proxy here, as Go's clients do; the library would leave that to Python, whose NO_PROXY knows no network.

    A kubeconfig's `proxy-url` wins. Nor are CAs held to rules that Go's clients do not have.
    """
    server = urlsplit(configuration.host)
    if not configuration.proxy:
        configuration.proxy = Proxies(os.environ).find(server.scheme, server.hostname or "", server.port)
    configuration.client_session_kwargs = {"trust_env": False}
    configuration.disable_strict_ssl_verification = True


@contextlib.contextmanager
def _answering(what: str) -> Iterator[None]:
    """The client library's errors as ours."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
        raise Unreachable(f"{what}: the API server does not answer ({type(error).__name__})") from error


def is_name(text: str) -> bool:
    """Whether an object can have this name; what is none could change the path that it is put into."""
    return len(text) <= NAME_LIMIT and _NAME.fullmatch(text) is not None


def decode(body: bytes, kind: type[T], what: str) -> T:
    """The few fields of an answer that matter; `Unreachable` where it is none. `what` names the object."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError) as error:
        raise Unreachable(f"{what}: the answer is not what an API server gives: {error}") from None
