"""uvicorn's HTTP protocol with limits on what a client may make the server hold: bytes, connections and time.

uvicorn bounds none of these for httptools: a request that never ends keeps its connection for ever, and headers may be of
any size. Whoever reaches the port can send them, so that a replica would be killed for its memory. Whoever finds no room
for a large request gets a 503, and an API server then comes again by itself: k8s.io/client-go rest/with_retry.go.
"""

import asyncio
import ssl
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from webhook.admission.review import SIZE_LIMIT, START

REQUEST_TIMEOUT = 10.0  # seconds from the first byte of a request to its last
SMALL_REQUEST = 32 * 1024  # bytes of a request that is always taken: nearly every review
HEAD_LIMIT = 4 * SMALL_REQUEST  # bytes of a request line and headers, and of a body that is small
WHOLE_LIMIT = SIZE_LIMIT + HEAD_LIMIT
LARGE_LIMIT = 16 * 1024 * 1024  # bytes of all larger requests together, from their first byte to their answer
MOST_CONNECTIONS = 1000  # an API server has one for each call that is under way
FEW_CONNECTIONS = 64  # that are kept whatever came over them, for an API server asks over the same ones again and again
REFUSED_CONNECTIONS = 256  # that are refused, and read to their end so that their clients hear why

_REFUSAL = "no room for another large review: those that are not answered yet are too many; try again in a second"
_REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\nretry-after: 1\r\nconnection: close\r\n\r\n%b"
)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. It is broken off where it passes a limit."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.held = 0  # bytes of the request that is not answered yet
        self.refused = False
        self._in_body = False
        self._whole = True  # the last request, with nothing after it
        self._deadline: asyncio.TimerHandle | None = None
        self._start = b""  # of the body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Wait for a first request as long as for any other: Go's client keeps connections that it never used.

        A request that it sends on one of these in the moment that we close it would be lost: golang/go
        src/net/http/transport.go (shouldRetryRequest).
        """
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            idle = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
            self.timeout_keep_alive_task = idle

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything now.

        uvicorn leaves the timer of a connection that broke, and circles of references, to which the garbage collector comes
        after hundreds of connections.
        """
        self._in_time()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.cycle = self.parser = None  # type: ignore[assignment]  # as uvicorn has them at first

    def data_received(self, data: bytes) -> None:
        """Take some bytes, unless that makes them too many."""
        if not self.refused:
            self.held += len(data)
        self._whole = False
        super().data_received(data)
        if not self._whole and self._deadline is None:  # most requests come in one piece
            self._deadline = self.loop.call_later(REQUEST_TIMEOUT, self.transport.abort)
        if self.held > SMALL_REQUEST and not self.refused:
            self._weigh()

    def _weigh(self) -> None:
        """A large request: is there room? One of many connections is not kept, nor with it what TLS has set aside for so much."""
        if self.cycle is not None and len(self.connections) > FEW_CONNECTIONS:
            self.cycle.keep_alive = False
        if self.held > (WHOLE_LIMIT if self._in_body else HEAD_LIMIT):
            self._break_off()
            return
        others = [each for each in self.connections if isinstance(each, BoundedProtocol)]
        if sum(each.held for each in others if each.held > SMALL_REQUEST) <= LARGE_LIMIT:
            return
        if not self._in_body or self.pipeline or sum(each.refused for each in others) >= REFUSED_CONNECTIONS:
            self._break_off()
        else:
            self._refuse()

    def _break_off(self) -> None:
        self.held = 0  # room for the others, before the loop comes to the end of this connection
        self.transport.abort()

    def _refuse(self) -> None:
        """Say why, and let the rest of the request pass: a client that still sends when we close never reads it."""
        self.held = 0
        self.refused = True
        refusal = self.refusal(_REFUSAL)
        self.cycle.disconnected = self.cycle.response_complete = True  # the application hears and says no more
        self.cycle.body = bytearray()
        self.cycle.message_event.set()
        self.transport.write(refusal)
        if self._whole:
            self.transport.close()
        else:
            self.flow.resume_reading()

    def refusal(self, reason: str) -> bytes:
        """The whole response to a request that finds no room."""
        body = f"{reason}\n".encode()
        return _REFUSED % (len(body), body)

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, and keep what the first ones say of whose it is."""
        if len(self._start) < START:
            self._start += body[: START - len(self._start)]
        super().on_body(body)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_body = self._whole = False
        self._start = b""
        super().on_message_begin()
        self.scope["extensions"] = _tls(self.transport)

    def on_headers_complete(self) -> None:
        """From here on it is the body."""
        self._in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole: what takes time now is up to us."""
        self._received()
        if self.refused:
            self.transport.close()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Nothing of the request is needed any more."""
        self.held = 0
        super().on_response_complete()

    def _received(self) -> None:
        self._in_time()
        self._whole = True

    def _in_time(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _tls(transport: asyncio.Transport) -> dict[str, dict[Any, Any]]:
    """The certificate that the client has shown, as the ASGI extension `tls` has it: asgiref specs/tls.rst."""
    connection = transport.get_extra_info("ssl_object")
    shown = None if connection is None else connection.getpeercert(binary_form=True)
    return {} if shown is None else {"tls": {"client_cert_chain": (ssl.DER_cert_to_PEM_cert(shown),)}}
