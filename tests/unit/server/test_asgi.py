"""The ASGI edge: what is a malformed request, what is a bad Pod, and that the uid always comes back."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from starlette.types import ASGIApp

from tests.support.clock import Clock
from tests.support.images import Table, image
from tests.support.pods import IMAGE, minimal, tweak
from webhook.admission.handler import Admission
from webhook.admission.review import SIZE_LIMIT
from webhook.cli.logs import JsonFormatter
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents, Metadata, NonRootPolicy, PolicySpec
from webhook.server import log_limit
from webhook.server.asgi import Reviews
from webhook.server.counters import Metrics
from webhook.server.log_limit import RateLimit

ENFORCE = Documents((NonRootPolicy(Metadata("strict"), PolicySpec(mode="Enforce")),))


class Reply:
    """What an ASGI application sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")

    @property
    def response(self) -> dict[str, Any]:
        document = json.loads(self.body)
        assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        response: dict[str, Any] = document["response"]
        return response


async def _fallback(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def reviews() -> Reviews:
    """A server that enforces, and knows one image: USER app, uid 1000."""
    return Reviews(Admission(PolicySnapshot(ENFORCE), Table({IMAGE: image("app")})), Metrics(), _fallback)


def review(obj: dict[str, Any], **more: Any) -> bytes:
    """The creation of an object."""
    request = {
        "uid": "the-uid",
        "operation": "CREATE",
        "kind": {"group": "", "version": "v1", "kind": obj["kind"]},
        "namespace": "default",
        "name": "web",
        "userInfo": {"username": "somebody"},
        "object": obj,
        **more,
    }
    return msgspec.json.encode(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    )  # compact, as Go writes it


async def call(
    application: ASGIApp,
    body: bytes | list[bytes],
    path: str = "/validate",
    *,
    method: str = "POST",
    content_type: str = "application/json",
    length: int | None = None,
    query: bytes = b"timeout=5s",
) -> Reply:
    """Send one request, its body in as many pieces as are given."""
    pieces = [body] if isinstance(body, bytes) else body
    headers = [(b"content-type", content_type.encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    scope = {"type": "http", "path": path, "method": method, "headers": headers, "query_string": query}

    def messages() -> Iterator[dict[str, Any]]:
        for index, piece in enumerate(pieces):
            yield {"type": "http.request", "body": piece, "more_body": index + 1 < len(pieces)}
        while True:
            yield {"type": "http.disconnect"}

    source, reply = messages(), Reply()

    async def receive() -> Any:
        return next(source)

    await application(scope, receive, reply.send)
    return reply


async def test_a_bad_pod_is_a_200_that_denies_with_403(reviews: Reviews) -> None:
    bad = tweak(minimal(), {"spec.securityContext.runAsUser": 0})
    reply = await call(reviews, review(bad))
    assert reply.status == 200
    assert reply.response["uid"] == "the-uid"
    assert reply.response["allowed"] is False
    status = reply.response["status"]
    assert (status["code"], status["reason"]) == (403, "Forbidden")
    for part in ('policy "strict"', "runs as root", 'container "app"', IMAGE, "uid 0", "the Pod's", "runAsUser"):
        assert part in status["message"]


async def test_a_good_pod_is_allowed(reviews: Reviews) -> None:
    reply = await call(reviews, review(tweak(minimal(), {"spec.securityContext.runAsUser": 7})))
    assert (reply.status, reply.response["allowed"], reply.response["uid"]) == (200, True, "the-uid")
    assert "patch" not in reply.response


async def test_a_mutation_is_a_json_patch(reviews: Reviews) -> None:
    reply = await call(reviews, review(minimal()), "/mutate")
    assert reply.response["patchType"] == "JSONPatch"
    assert reply.response["allowed"] is True


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is no AdmissionReview"),
        (b"\xff\xfe", "is no AdmissionReview"),
        (b"[" * 100_000, "is no AdmissionReview"),
        (b'{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}', "expected apiVersion"),
        (b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}', "has no request"),
        (review(minimal(), uid=""), "has no uid"),
        (review(minimal(), object=None), "has no object"),
    ],
)
async def test_a_malformed_review_is_a_400_that_says_why(reviews: Reviews, body: bytes, says: str) -> None:
    reply = await call(reviews, body)
    assert reply.status == 400
    assert says in reply.body.decode()


@pytest.mark.parametrize("path", ["/validate", "/validate/enforce"])
@pytest.mark.parametrize("obj", [5, tweak(minimal(), {"spec.containers": "x"}), {"kind": "Pod"}])
async def test_a_malformed_object_is_refused_inside_the_review(reviews: Reviews, path: str, obj: Any) -> None:
    """An HTTP error would admit it by a hook that fails open."""
    reply = await call(reviews, review(minimal(), object=obj), path)
    assert (reply.status, reply.response["uid"], reply.response["allowed"]) == (200, "the-uid", False)
    assert reply.response["status"]["code"] == 403
    assert "the Pod in the request" in reply.response["status"]["message"]


async def test_a_body_of_seven_mebibytes_is_taken_whole_or_in_pieces(reviews: Reviews) -> None:
    bare = review(minimal())
    body = bare + b" " * (SIZE_LIMIT - len(bare))
    assert (await call(reviews, body)).status == 200
    assert (await call(reviews, [body[:1000], body[1000:]])).status == 200


async def test_a_larger_body_is_a_413_however_it_comes(reviews: Reviews) -> None:
    body = b" " * (SIZE_LIMIT + 1)
    assert (await call(reviews, b"", length=SIZE_LIMIT + 1)).status == 413
    assert (await call(reviews, body)).status == 413
    reply = await call(reviews, [body[:5], body[5:], b"never read"])
    assert (reply.status, reply.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("path", ["/mutate", "/validate", "/validate/enforce"])
async def test_a_review_that_is_too_large_is_refused_inside_where_its_start_says_whose_it_is(
    reviews: Reviews, path: str
) -> None:
    """An HTTP error would admit it by a hook that fails open; the mutating one leaves the refusal to the others."""
    body = review(minimal(), namespace="shop") + b" " * SIZE_LIMIT
    for reply in (await call(reviews, body, path), await call(reviews, [body[:9000], body[9000:]], path)):
        assert (reply.status, reply.response["uid"]) == (200, "the-uid")
        assert reply.response["allowed"] is (path == "/mutate")
        if path != "/mutate":
            assert reply.response["status"]["code"] == 403
            assert "the review is larger than 7340032 bytes" in reply.response["status"]["message"]


async def test_a_request_that_breaks_off_is_a_400(reviews: Reviews) -> None:
    scope = {"type": "http", "path": "/validate", "method": "POST", "headers": [], "query_string": b""}
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    reply = Reply()

    async def receive() -> Any:
        return next(messages)

    await reviews(scope, receive, reply.send)
    assert reply.status == 400


async def test_method_and_content_type_are_checked(reviews: Reviews) -> None:
    assert (await call(reviews, b"", method="GET")).status == 405
    assert (await call(reviews, review(minimal()), content_type="application/yaml")).status == 415
    assert (await call(reviews, review(minimal()), content_type="Application/JSON; charset=utf-8")).status == 200


async def test_every_other_path_is_the_applications(reviews: Reviews) -> None:
    assert (await call(reviews, b"", "/healthz")).status == 418
    assert (await call(reviews, b"", "/validate/")).status == 418


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        (b"timeout=5s", 3.5),
        (b"timeout=1s", 0.1),
        (b"timeout=10s", 3.5),
        (b"", 3.5),
        (b"timeout=x", 3.5),
        (b"timeout=%D9%A1s", 3.5),
    ],
)
async def test_the_api_servers_timeout_bounds_the_wait(query: bytes, seconds: float) -> None:
    table = Table({IMAGE: image("app")})
    await call(Reviews(Admission(PolicySnapshot(ENFORCE), table), Metrics(), _fallback), review(minimal()), query=query)
    assert table.asked[0].budget == seconds


async def test_while_draining_every_answer_closes_its_connection(reviews: Reviews) -> None:
    assert "connection" not in (await call(reviews, review(minimal()))).headers
    reviews.draining = True
    assert (await call(reviews, review(minimal()))).headers["connection"] == "close"


async def test_a_denial_is_logged_with_its_reasons(reviews: Reviews, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        await call(reviews, review(tweak(minimal(), {"spec.securityContext.runAsUser": 0})))
    (record,) = caplog.records
    assert record.getMessage().startswith('denied Pod "default/web" ')
    assert "runs as root" in record.getMessage()
    line = json.loads(JsonFormatter().format(record))
    url = "https://nonroot.dev/docs/reference/rules/root-user/"
    assert record.getMessage().endswith(f" (more: {url})")
    finding = {"rule": "root-user", "url": url, "container": "app", "image": IMAGE, "user": None}
    assert line.pop("findings") == [finding]
    assert {name: line[name] for name in ("event", "kind", "namespace", "name", "operation", "mode")} == {
        "event": "denied",
        "kind": "Pod",
        "namespace": "default",
        "name": "web",
        "operation": "CREATE",
        "mode": "Enforce",
    }
    assert {"requester", "policy"} <= line.keys()


async def test_of_a_flood_of_denials_no_record_is_made_for_what_is_left_out(
    reviews: Reviews, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Limit(RateLimit):
        def filter(self, record: logging.LogRecord) -> bool:
            made.append(record.getMessage())
            return super().filter(record)

    monkeypatch.setattr(log_limit, "OF_PROCESS", limit := Limit(Clock()))
    caplog.handler.addFilter(limit)
    with caplog.at_level("INFO"):
        for number in range(log_limit.LINES_LIMIT + 10):
            denied = tweak(minimal(), {"spec.securityContext.runAsUser": 0})
            await call(reviews, review(denied, name=f"web-{number}"))
    caplog.handler.removeFilter(limit)
    assert len(made) == log_limit.LINES_LIMIT


async def test_below_the_level_of_denials_none_is_put_into_words(
    reviews: Reviews, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        await call(reviews, review(tweak(minimal(), {"spec.securityContext.runAsUser": 0})))
    assert not caplog.records
