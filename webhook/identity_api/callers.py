"""The callers of the identity API, by client certificate or bearer token, and the namespaces for which they may ask."""

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from webhook.cluster.users import AccessReviews, CachedAccessReviews, TooManyReviews, User
from webhook.errors import NonrootError

CERTIFICATE_USER = (
    "nonroot.dev:certificate:"  # RBAC knows the holder of a client certificate as this and its common name
)
REVIEWS_AT_ONCE, REVIEWS_WAITING = 16, 1024  # requests to the API server: strangers may send any number of tokens
REQUESTS, REQUESTS_EACH = 128, 64  # that are answered at once, in all and of one caller

T = TypeVar("T")

log = logging.getLogger(__name__)


class Refused(NonrootError):
    """A request that is not answered, with the HTTP status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Certificates(Protocol):
    """The authority whose client certificates are believed."""

    def common_name(self, certificate: str) -> str | None:
        """The common name in a PEM certificate that the authority has issued, and that is valid now; else None."""
        ...


class Callers:
    """Identifies callers and asks the API server about them; what it says is kept for a minute at most.

    Without `reviews`, which is standalone, a certificate is enough: no namespace has secrets there.
    """

    def __init__(
        self,
        certificates: Certificates | None,
        reviews: AccessReviews | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._certificates = certificates
        self._reviews = None
        if reviews is not None:
            self._reviews = CachedAccessReviews(reviews, at_once=REVIEWS_AT_ONCE, waiting=REVIEWS_WAITING, clock=clock)
        self._running: Counter[str] = Counter()

    async def identify(self, certificate: str, token: str) -> User:
        """The user of a PEM certificate or of a token, either of which may be empty; `Refused` where that is nobody."""
        name = self._certificates.common_name(certificate) if certificate and self._certificates else None
        if name:
            return User(CERTIFICATE_USER + name)
        user = await self._ask(self._reviews.user_of(token)) if token and self._reviews else None
        if user is None:
            raise Refused(
                401, "show a client certificate of the authority that the chart value identityApi names, or a token"
            )
        return user

    async def may_resolve(self, user: User, namespace: str) -> bool:
        """Whether the user may ask for a namespace; empty: for none in particular, which takes the right in all of them."""
        return self._reviews is None or await self._ask(self._reviews.may_resolve(user, namespace))

    @contextmanager
    def room(self, user: User) -> Iterator[None]:
        """Room for one request of the user; `Refused` where there is none."""
        name = user.username
        if self._running.total() >= REQUESTS or self._running[name] >= REQUESTS_EACH:
            raise Refused(429, "too many requests are being answered: try again in a second")
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]

    async def aclose(self) -> None:
        """Stop asking."""
        if self._reviews:
            await self._reviews.aclose()

    async def _ask(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except TooManyReviews as error:
            raise Refused(503, str(error)) from None
        except NonrootError as error:
            log.warning("a caller of the identity API is not known: %s", error)
            raise Refused(503, "the API server could not be asked who may ask, which the log explains") from None
