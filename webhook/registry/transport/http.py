"""The one module that opens connections to registries: a `Request` in, a `Response` out, or a `RegistryError` that says why not.

Each layer of it adds one concern, as httpx's client does: `send` retries, `_follow` redirects, `_once` makes one
exchange. There are two pools of connections, because an image reference's own registry may have a private address and
whatever it points to may not. A circuit breaker leaves a host alone for a while after some failures in a row, so that callers
fail at once; then one caller tries, and its success closes the circuit. A host to which nobody gets a connection is left alone by
all; one that says that it is broken, or breaks off, by the namespace whose images it was asked for: a mirror says that of what
lies behind it, too.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

import msgspec
from yarl import URL

from webhook.caching import TENANT, FairSemaphore
from webhook.http.library import aiohttp
from webhook.registry.settings import RegistrySettings
from webhook.registry.transport.egress import AddressDenied, EgressPolicy, TlsContexts, denied
from webhook.registry.transport.messages import (
    Cost,
    RegistryError,
    Request,
    Response,
    Sink,
    Url,
    forbidden,
    parse_url,
    refusal,
    retry_after,
    same_authority,
)
from webhook.registry.transport.stats import Outcome, RegistryStats, host_class

_CIRCUITS = 4096


class _Circuit(msgspec.Struct):
    failures: int = 0
    open_until: float = 0.0
    why: str = ""


class Breaker:
    """Two circuits per host. `seconds` is how long one stays open after `threshold` failures in a row."""

    def __init__(self, seconds: float, clock: Callable[[], float], threshold: int = 4) -> None:
        self._seconds = seconds
        self._clock = clock
        self._threshold = threshold
        self._circuits: OrderedDict[tuple[str, str | None], _Circuit] = OrderedDict()

    def allows(self, host: str, tenant: str) -> bool:
        """Whether to try; where the while has just passed, the one who asks is the one who tries."""
        return self._closed((host, tenant)) and self._closed((host, None))

    def why(self, host: str, tenant: str) -> str:
        """The reason of the last failure, of a circuit that is open."""
        circuits = (self._circuits.get(key) for key in ((host, tenant), (host, None)))
        return next((each.why for each in circuits if each and each.failures >= self._threshold), "")

    def succeeded(self, host: str, tenant: str) -> None:
        """The host answered, whatever it said."""
        self._circuits.pop((host, tenant), None)
        self._circuits.pop((host, None), None)

    def failed(self, host: str, tenant: str | None, why: str) -> None:
        """The host broke off or said that it is broken; for everybody (None) it could not be reached."""
        circuit = self._circuits.setdefault((host, tenant), _Circuit())
        self._circuits.move_to_end((host, tenant))
        circuit.failures += 1
        circuit.why = why
        circuit.open_until = self._clock() + self._seconds
        if len(self._circuits) > _CIRCUITS:
            self._circuits.popitem(last=False)

    def _closed(self, key: tuple[str, str | None]) -> bool:
        circuit = self._circuits.get(key)
        if circuit is None or circuit.failures < self._threshold:
            return True
        now = self._clock()
        if now < circuit.open_until:
            return False
        circuit.open_until = now + self._seconds
        return True


_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_DOWN = frozenset({502, 503, 504})  # a 500 may be about one repository only
_HOPS = 5
_ERROR_BODY = 64 * 1024
_READ = 256 * 1024
_CONNECTIONS = 16  # to one host
_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}
)  # OpenSSL's
_SLOWEST = 32 * 1024  # bytes a second over a whole blob, once `idle` has passed
_RISE = 7  # how many times that the rate is more when the time for a layer is up: what is slow must also be short


class Transport:
    """Connections to registries, under the rules of `RegistrySettings`. What they cost goes into `stats`."""

    def __init__(
        self,
        settings: RegistrySettings,
        clock: Callable[[], float] = time.monotonic,
        stats: RegistryStats | None = None,
    ) -> None:
        self._stats = stats or RegistryStats()
        self._settings = settings
        self._clock = clock
        self._egress = EgressPolicy(settings)
        self._tls = TlsContexts(settings)
        self._breaker = Breaker(settings.lives.breaker, clock)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._busy: WeakValueDictionary[str, FairSemaphore] = WeakValueDictionary()

    async def send(self, request: Request, cost: Cost, deadline: float) -> Response:
        """The answer, whatever its status; raises `RegistryError` when there is none by `deadline` (on the clock)."""
        if request.tentative:
            return await self._follow(request, cost)
        tenant = TENANT.get()
        for pause in (*self._settings.timeouts.backoff, None):
            if not self._breaker.allows(request.authority, tenant):
                why = self._breaker.why(request.authority, tenant)
                detail = f"{request.authority} did not answer lately ({why}); it is asked again in some seconds"
                raise RegistryError("unreachable", detail)
            wait = pause
            try:
                response = await self._follow(request, cost)
            except RegistryError as error:
                if not error.passing:
                    raise
                why = str(error).removeprefix(f"{request.authority} ")
                self._breaker.failed(request.authority, tenant if error.connected else None, why)
                if wait is None or self._clock() + wait >= deadline:
                    raise
            else:
                wait = self._again(request, response, pause, deadline)
                if wait is None:
                    return response
            await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def deny(self, networks: Iterable[str]) -> None:
        """Open no connection to addresses in these networks, beside those of the settings."""
        self._egress.deny(networks)

    async def aclose(self) -> None:
        """Close every connection."""
        for session in self._sessions.values():
            await session.close()
        await self._egress.aclose()

    def _again(self, request: Request, response: Response, pause: float | None, deadline: float) -> float | None:
        """In how many seconds to ask again for what was answered so; None: the answer stands."""
        if response.status in _DOWN:
            self._breaker.failed(request.authority, TENANT.get(), f"status {response.status}")
        else:
            self._breaker.succeeded(request.authority, TENANT.get())
        requested = retry_after(response) or 0.0
        if pause is None or response.status not in _RETRIED or requested > self._settings.timeouts.retry_after:
            return None
        wait = max(pause, requested)
        return wait if self._clock() + wait < deadline else None

    async def _follow(self, request: Request, cost: Cost) -> Response:
        url, authorization = parse_url(request.url, request.authority), request.authorization
        for _ in range(_HOPS + 1):
            response = await self._once(request, url, authorization, cost)
            location = response.header("location")
            if response.status not in _REDIRECTS or not location:
                return response
            if request.method == "POST":
                raise forbidden(f"{url.authority} redirects a request that carries a password, which is not followed")
            target = parse_url(location, url.authority, url.text)
            if target.origin != url.origin:
                authorization = ""
            url = target
        raise forbidden(f"{request.authority} redirects more than {_HOPS} times")

    async def _once(self, request: Request, url: Url, authorization: str, cost: Cost) -> Response:
        """One exchange, counted by what came of it."""
        self._egress.check(url, request)
        kind = host_class(request.authority)
        outcome: Outcome = "abandoned"
        costs = (cost, self._stats.total, self._stats.costs[kind])
        try:
            response = await self._turns(url.authority).run(
                TENANT.get(), lambda: self._exchange(request, url, authorization, costs)
            )
            outcome = "ok" if response.status < 400 else refusal(response, "").cause
        except RegistryError as error:
            outcome = error.cause
            raise
        finally:
            self._stats.requests[kind, outcome] += 1
        return response

    async def _exchange(self, request: Request, url: Url, authorization: str, costs: tuple[Cost, ...]) -> Response:
        authority = url.authority
        own = same_authority(authority, request.authority)
        session, proxy = self._session(own), self._egress.proxy(url)
        headers = {"Accept-Encoding": "identity", **request.headers}
        if authorization:
            headers["Authorization"] = authorization
        timeouts = self._settings.timeouts
        total = None if request.sink else timeouts.document
        for cost in costs:
            cost.requests += 1
        with _mapped(authority, own=own):
            async with session.request(
                request.method,
                URL(url.text, encoded=True),
                headers=headers,
                data=request.form,
                allow_redirects=False,
                ssl=await self._tls.of(authority) if url.scheme == "https" or proxy else True,
                proxy=proxy,
                timeout=aiohttp.ClientTimeout(total=total, sock_connect=timeouts.connect, sock_read=timeouts.idle),
            ) as answer:
                received: dict[str, tuple[str, ...]] = {}
                for name, value in answer.headers.items():
                    received[name.lower()] = (*received.get(name.lower(), ()), value)
                body = b""
                if answer.status == 200 and request.sink:
                    await self._pour(answer, request.sink(), request.limit, authority, costs)
                elif answer.status == 200:
                    body = await self._read(answer, request.limit, authority, costs)
                elif answer.content_length is not None and answer.content_length <= _ERROR_BODY:  # frees the connection
                    body = await self._read(answer, _ERROR_BODY, authority, costs)
                return Response(answer.status, received, body, own, url.text)

    async def _read(self, answer: aiohttp.ClientResponse, limit: int, authority: str, costs: tuple[Cost, ...]) -> bytes:
        pieces: list[bytes] = []
        left = limit
        async for piece in answer.content.iter_any():
            _count(len(piece), costs)
            left -= len(piece)
            if left < 0:
                raise RegistryError("tooLarge", f"{authority} sends more than the {limit} bytes that are allowed")
            pieces.append(piece)
        return b"".join(pieces)

    async def _pour(
        self, answer: aiohttp.ClientResponse, sink: Sink, size: int, authority: str, costs: tuple[Cost, ...]
    ) -> None:
        started, left = self._clock(), size
        if answer.content_length is not None and answer.content_length != size:
            raise RegistryError("invalid", f"{authority} sends {answer.content_length} bytes for a blob of {size}")
        async for piece in answer.content.iter_chunked(_READ):
            _count(len(piece), costs)
            left -= len(piece)
            if left < 0:
                raise RegistryError("invalid", f"{authority} sends more than {size} bytes for a blob of that size")
            elapsed = self._clock() - started
            slowest = _SLOWEST * (1 + _RISE * elapsed / self._settings.timeouts.layer)
            if elapsed > self._settings.timeouts.idle and size - left < elapsed * slowest:
                detail = f"{authority} sends a blob at less than {int(slowest) >> 10} KiB/s after {elapsed:.0f} s"
                raise RegistryError("unreachable", detail)
            await sink.feed(piece)
        if left:
            raise RegistryError("unreachable", f"{authority} broke off a blob after {size - left} of {size} bytes")

    def _turns(self, authority: str) -> FairSemaphore:
        """Bounds the requests to one host at once, by namespace: a mirror may hang on what one of them asks for."""
        turns = self._busy.get(authority)
        if turns is None:
            turns = self._busy[authority] = FairSemaphore(_CONNECTIONS, self._settings.look_ups_per_namespace)
        return turns

    def _session(self, own: bool) -> aiohttp.ClientSession:
        """Made on first use, inside the running loop."""
        session = self._sessions.get(own)
        if session is None:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=self._egress.resolver(own=own),
                    use_dns_cache=False,  # with it a namespace would wait for another's look-up
                    limit=0,  # bounded by `_turns`
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_READ,
                headers={"User-Agent": self._settings.user_agent},
            )
            self._sessions[own] = session
        return session


@contextmanager
def _mapped(authority: str, *, own: bool) -> Iterator[None]:
    """The boundary at which aiohttp's errors, and the system's, become ours; the most specific first."""
    try:
        yield
    except RegistryError:
        raise
    except aiohttp.ClientConnectorCertificateError as error:
        detail = f"{authority} has no TLS certificate that is trusted; if it is right, add its CA to the settings"
        raise forbidden(detail) from error
    except aiohttp.ClientConnectorSSLError as error:
        if getattr(error.os_error, "reason", "") in _NO_TLS:
            detail = (
                f"{authority} answers plain HTTP where TLS is expected; if that is meant, allow it with "
                f"--insecure-registry {authority}, or under insecure in the registry configuration"
            )
        else:
            detail = (
                f"{authority} agrees on no TLS connection, such as one with a client certificate or a current version"
            )
        raise forbidden(detail) from error
    except aiohttp.ClientConnectorDNSError as error:
        if isinstance(error.os_error, AddressDenied):
            raise forbidden(denied(authority, own=own)) from error
        raise RegistryError("unreachable", f"{authority} does not resolve", connected=False) from error
    except aiohttp.ClientProxyConnectionError as error:
        detail = f"{authority} is behind a proxy that does not accept a connection"
        raise RegistryError("unreachable", detail, connected=False) from error
    except aiohttp.ClientHttpProxyError as error:
        raise RegistryError("unreachable", f"{authority} is behind a proxy that answered {error.status}") from error
    except aiohttp.ClientConnectorError as error:
        raise RegistryError("unreachable", f"{authority} does not accept a connection", connected=False) from error
    except aiohttp.ConnectionTimeoutError as error:
        raise RegistryError("unreachable", f"{authority} did not answer in time", connected=False) from error
    except TimeoutError as error:
        raise RegistryError("unreachable", f"{authority} did not answer in time") from error
    except aiohttp.InvalidURL as error:
        raise forbidden(f"{authority} points to an address that cannot be followed") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise RegistryError("unreachable", f"{authority} broke the connection off, or speaks no HTTP") from error


def _count(size: int, costs: Iterable[Cost]) -> None:
    for cost in costs:
        cost.bytes_read += size
