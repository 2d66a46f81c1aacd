"""The paths of the API as a FastAPI application, which describes itself in /openapi.json."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import webhook
from webhook.cluster.users import User
from webhook.identity_api import external_data
from webhook.identity_api.callers import Callers, Refused
from webhook.identity_api.external_data import KEYS_LIMIT, Item, Items, KeyForm, ProviderRequest, ProviderResponse
from webhook.identity_api.lookup import IdentityRequest, Lookup
from webhook.identity_api.response import IdentityResponse

PATHS = frozenset({"/externaldata", "/v1/identities", "/openapi.json"})
TIMEOUT = 2.5  # seconds; Gatekeeper gives a provider 5, Kyverno a call 3 or more, both within a hook's own time
MOST_SECONDS = 10.0

Seconds = Annotated[
    float, Query(alias="timeout", gt=0, le=MOST_SECONDS, description="Seconds until the answer must be there.")
]


class IdentityAPI:
    """The ASGI application of the API's paths; `answered` counts each with its status, and `fallback` serves all others."""

    def __init__(
        self, lookup: Lookup, callers: Callers, fallback: ASGIApp, answered: Callable[[str, int], None]
    ) -> None:
        self._app = _application(lookup, callers)
        self._fallback = fallback
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._fallback(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answered(scope["path"], message["status"])
            await send(message)

        await self._app(scope, receive, counted)


def _application(lookup: Lookup, callers: Callers) -> FastAPI:
    app = FastAPI(
        title="nonroot-webhook", version=webhook.__version__, description=__doc__, docs_url=None, redoc_url=None
    )
    bearer = HTTPBearer(auto_error=False, description="A token that the API server knows.")

    async def caller(
        request: Request, token: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
    ) -> AsyncIterator[User]:
        chain = request.scope.get("extensions", {}).get("tls", {}).get("client_cert_chain", ())
        user = await callers.identify(chain[0] if chain else "", token.credentials if token else "")
        with callers.room(user):
            yield user

    Caller = Annotated[User, Depends(caller)]  # noqa: N806  # a type

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        # A client that has another certificate by now shows it on another connection.
        nobody = {"WWW-Authenticate": "Bearer", "Connection": "close"}
        headers = {401: nobody, 429: {"Retry-After": "1"}, 503: {"Retry-After": "1"}}
        body = {"detail": str(error)} if request.url.path == "/v1/identities" else external_data.refusal(str(error))
        return JSONResponse(body, error.status, headers.get(error.status))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        """FastAPI's own answer would repeat the whole request."""
        first = error.errors()[0]
        return await refused(request, Refused(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"))

    @app.get("/v1/identities", summary="Who the USER of an image is")
    async def identities(
        user: Caller,
        image: Annotated[str, Query(description="As a container names it.")],
        namespace: Annotated[str, Query(description="Whose pull secrets may be used; empty: nobody's.")] = "",
        service_account: Annotated[
            str, Query(alias="serviceAccount", description="Whose pull secrets are used where none are named.")
        ] = "",
        pull_secrets: Annotated[tuple[str, ...], Query(alias="pullSecret", description="Those of the Pod.")] = (),
        os: Annotated[Literal["linux", "windows"], Query(description="That of the nodes.")] = "linux",
        architectures: Annotated[tuple[str, ...], Query(alias="architecture", description="None: every one.")] = (),
        seconds: Seconds = TIMEOUT,
    ) -> IdentityResponse:
        """An image that could not be read is an answer, too: `unknown` says why."""
        wanted = IdentityRequest(image, namespace, service_account, pull_secrets, os, architectures)
        if wanted.fault:
            raise Refused(400, wanted.fault)
        if not await callers.may_resolve(user, namespace):
            raise Refused(403, forbidden(user, namespace))
        return await lookup.answer(wanted, seconds)

    @app.post("/externaldata", summary="Gatekeeper's external data protocol")
    async def provide(
        user: Caller,
        asked: ProviderRequest,
        form: Annotated[
            KeyForm, Query(alias="keys", description="Whether keys are images, or JSON objects that name one.")
        ] = "images",
        seconds: Seconds = TIMEOUT,
    ) -> ProviderResponse:
        """Each key has an answer or an error of its own; the same keys have the same answers."""
        keys = asked.request.keys
        if len(keys) > KEYS_LIMIT:
            raise Refused(413, f"{len(keys)} keys are more than the {KEYS_LIMIT} that are answered at once")

        async def answer(key: str) -> Item:
            try:
                wanted = external_data.identity_request(key, form, asked.request)
            except ValueError as error:
                return Item(key=key, error=str(error))
            if wanted.fault:
                return Item(key=key, error=wanted.fault)
            if not await callers.may_resolve(user, wanted.namespace):
                return Item(key=key, error=forbidden(user, wanted.namespace))
            return external_data.item(key, await lookup.answer(wanted, seconds))

        different = dict.fromkeys(keys)
        items = dict(zip(different, await asyncio.gather(*map(answer, different)), strict=True))
        return ProviderResponse(api_version=asked.api_version, response=Items(items=tuple(items[key] for key in keys)))

    return app


def forbidden(user: User, namespace: str) -> str:
    """The message about the right that a user lacks, with what to add."""
    if namespace:
        where, binding = f"in namespace {namespace}", f"RoleBinding in namespace {namespace}"
    else:
        where, binding = "in all namespaces, which a request that names none takes", "ClusterRoleBinding"
    return (
        f"{user.username} may not resolve imageidentities.nonroot.dev {where}: add a {binding} from this user to the "
        "ClusterRole nonroot-webhook-identities"
    )
