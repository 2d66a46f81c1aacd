"""The two review paths as a bare ASGI callable, in front of the application that answers everything else.

A route of FastAPI or Starlette costs more than the whole evaluation (docs/decisions/performance.md), and every Pod creation waits
for this one. There are two kinds of error: a review that is malformed is a 4xx that says why; a Pod that is bad is a 200 whose
review denies it.
"""

import logging
import time
from collections.abc import Callable
from functools import lru_cache, partial
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from webhook.admission import review
from webhook.admission.decision import MESSAGE_LIMIT
from webhook.admission.handler import ENFORCE_BUDGET, Admission, Outcome, WebhookKind
from webhook.admission.review import SIZE_LIMIT, Review
from webhook.errors import MalformedReview
from webhook.evaluation.documentation import more, rule_url
from webhook.server import log_limit
from webhook.server.counters import Metrics
from webhook.text import printable, quoted

TIMEOUT_MARGIN = 1.5  # seconds of the API server's timeout that are kept for the way back
WEBHOOK_PATHS: dict[str, WebhookKind] = {"/mutate": "mutate", "/validate": "validate", "/validate/enforce": "enforce"}
JSON = b"application/json"
PLAIN = b"text/plain; charset=utf-8"
_DENIED = "denied %s"

log = logging.getLogger(__name__)


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A response over HTTP; `closes` ends the connection after it. `observers` are called once it is out."""

    status: int
    body: bytes
    content_type: bytes
    closes: bool
    observers: tuple[Callable[[], None], ...] = ()

    def observe(self) -> None:
        """Count, log and report the reply. Whoever sends it calls this afterwards, so that no observer can lose it."""
        for observer in self.observers:
            try:
                observer()
            except Exception:
                log.exception("an observer of an answer failed, which is a bug")


class Reviews:
    """Answers `POST /mutate` and `POST /validate`; hands every other path to `fallback`."""

    def __init__(
        self,
        admission: Admission,
        metrics: Metrics,
        fallback: ASGIApp,
        answered: Callable[[Review, Outcome], None] = lambda _asked, _outcome: None,
    ) -> None:
        self._admission = admission
        self._metrics = metrics
        self._fallback = fallback
        self._answered = answered  # called with every answer
        self.draining = False  # then every answer closes its connection, so that none is idle when we leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        hook = WEBHOOK_PATHS.get(scope["path"]) if scope["type"] == "http" else None
        if hook is None:
            await self._fallback(scope, receive, send)
            return
        try:
            body = await _body(scope, receive)
        except _TooLarge as error:
            reply = self.unread(hook, error.start, str(error), retry=False) or self._refused(error)
        except MalformedReview as error:
            reply = self._refused(error)
        else:
            reply = await self.answer(hook, body, timeout(scope["query_string"]))
        headers = [(b"content-type", reply.content_type), (b"content-length", str(len(reply.body)).encode())]
        if reply.closes:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        reply.observe()

    async def answer(self, hook: WebhookKind, body: bytes, seconds: float) -> Reply:
        """Answer the review in a whole body within so many seconds."""
        started = time.perf_counter()
        try:
            decoded = review.decode(body)
            outcome = await self._admission.review(decoded, hook, seconds)
        except MalformedReview as error:
            return self._refused(error)
        observers = [
            partial(self._metrics.answered, outcome, decoded.operation, time.perf_counter() - started),
            partial(self._answered, decoded, outcome),
        ]
        if outcome.decision == "deny":
            observers.append(partial(_log_denial, decoded, outcome))
        return Reply(200, outcome.body, JSON, self.draining, tuple(observers))

    def unread(self, hook: WebhookKind, start: bytes, reason: str, *, retry: bool) -> Reply | None:
        """The answer to a review of which no more than its start was read; None where that does not say whose it is."""
        address = review.address(start)
        if address is None:
            return None
        outcome = self._admission.unchecked(address.uid, address.namespace, hook, reason, retry=retry)
        observer = partial(self._metrics.answered, outcome, "other", 0.0)
        return Reply(200, outcome.body, JSON, True, (observer,))

    def _refused(self, error: MalformedReview) -> Reply:
        observers = (
            partial(self._metrics.malformed, error.status),
            partial(log.warning, "refused a request with status %d: %s", error.status, error),
        )
        closes = self.draining or error.status == 413
        return Reply(error.status, f"{error}\n".encode(), PLAIN, closes, observers)


def _log_denial(decoded: Review, outcome: Outcome) -> None:
    if log.isEnabledFor(logging.INFO) and not log_limit.OF_PROCESS.is_full(log.name, _DENIED):
        log.info(_DENIED, _denial(decoded, outcome), extra={"fields": partial(_fields, decoded, outcome)})


def _denial(decoded: Review, outcome: Outcome) -> str:
    """A denial in words."""
    findings = outcome.findings[:MESSAGE_LIMIT]
    said = "; ".join([f"{finding.rule}: {finding.message}" for finding in findings])
    reasons = said + more(findings[0].rule) if findings else outcome.message
    return f"{decoded.kind.kind[:63]} {quoted(f'{decoded.namespace}/{decoded.name}')} {reasons}"


def _fields(decoded: Review, outcome: Outcome) -> dict[str, object]:
    """The fields of a denial's JSON line beside its message, for whoever filters and counts."""
    effective_policy = outcome.effective_policy
    return {
        "event": "denied",
        "operation": decoded.operation,
        "kind": printable(decoded.kind.kind, 63),
        "namespace": printable(decoded.namespace, 63),
        "name": printable(decoded.name, 253),
        "requester": printable(decoded.user_info.username, 253),
        "policy": effective_policy.policy.metadata.name if effective_policy else "",
        "mode": effective_policy.mode if effective_policy else "",
        "findings": [
            {
                "rule": each.rule,
                "url": rule_url(each.rule),
                "container": printable(each.container, 63),
                "image": printable(each.image, 255),
                "user": None if each.user is None else printable(each.user, 64),
            }
            for each in outcome.findings[:MESSAGE_LIMIT]
        ],
    }


class _TooLarge(MalformedReview):
    """A body that is larger than any review; `start` are its first bytes."""

    def __init__(self, start: bytes) -> None:
        super().__init__(f"the review is larger than {SIZE_LIMIT} bytes: make the object smaller", 413)
        self.start = start[: review.START]


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The request's body, whole; `MalformedReview` with 405, 411, 413 or 415 where it is not one we take."""
    announced = 0
    if scope["method"] != "POST":
        raise MalformedReview("an AdmissionReview is sent by POST", 405)
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            announced = int(value)
        if name == b"content-type" and value.partition(b";")[0].strip().lower() != b"application/json":
            raise MalformedReview("the content type must be application/json", 415)
    message = await receive()
    body: bytes = message.get("body", b"")
    if max(announced, len(body)) > SIZE_LIMIT:
        raise _TooLarge(body)
    if not message.get("more_body", False):
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise MalformedReview("the request ended before its body did")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > SIZE_LIMIT:
            raise _TooLarge(b"".join(parts))
    return b"".join(parts)


@lru_cache(maxsize=64)
def timeout(query: bytes) -> float:
    """The seconds that the API server grants by the query `timeout=5s`, less a margin for the way back."""
    text = parse_qs(query.decode("latin-1")).get("timeout", [""])[0].removesuffix("s")
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        return ENFORCE_BUDGET
    return max(0.1, int(text) - TIMEOUT_MARGIN)
