"""The least that an answer can cost: read the body, answer a constant.

`app` goes uvicorn's own way; `python -m tests.bench.floor PORT CERTIFICATE KEY` the short one of our server.
"""

import sys
from typing import Any

import uvicorn

from webhook.admission.handler import WebhookKind
from webhook.server.asgi import JSON, Reply, Reviews
from webhook.server.fast_path import ReviewProtocol

BODY = b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"x","allowed":true}}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
_REPLY = Reply(200, BODY, JSON, closes=False)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Any request."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send(START)
    await send({"type": "http.response.body", "body": BODY})


class Constant(Reviews):
    """The constant in the place of every answer to a review."""

    def __init__(self) -> None:
        self._fallback = app

    async def answer(self, hook: WebhookKind, body: bytes, seconds: float) -> Reply:
        """Always the same."""
        return _REPLY


def main(port: str, certificate: str, key: str) -> None:
    """Serve it, as `nonroot serve` serves reviews."""
    uvicorn.run(
        Constant(),
        port=int(port),
        loop="uvloop",
        http=ReviewProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        proxy_headers=False,  # uvicorn's own wrapper, which has no short path
        log_level="critical",
        timeout_keep_alive=120,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
