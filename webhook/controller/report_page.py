"""The report page over HTTP: the last scan as a page or as JSON, of all namespaces, some of them, or those that one may see."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from aiohttp import web

from webhook.cluster.errors import ClusterError
from webhook.cluster.users import bearer_token
from webhook.controller.report_readers import ReportReaders, Unauthenticated
from webhook.scan import document
from webhook.scan.document import Document
from webhook.scan.html import page

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}
_NO_SCAN = "there has been no scan yet; come again in a minute\n"


class Scanned(Protocol):
    """The source of the last scan; `html` is the page of all of it."""

    document: Document | None

    async def html(self) -> str:
        """The page, "" before the first scan."""
        ...


class ReportPage:
    """Answers `/report` and `/report.json`; `/` leads to the page. With `access` whoever asks shows a bearer token.

    Without `access` anybody who reaches the port sees everything.
    """

    def __init__(self, scanned: Scanned, access: ReportReaders | None = None) -> None:
        self._scanned = scanned
        self._access = access

    def routes(self) -> list[web.RouteDef]:
        """The routes, for the application that serves the probes."""
        return [
            web.get("/", self._start),
            web.get("/report", self._html),
            web.get("/report.json", self._json),
        ]

    async def _start(self, _: web.Request) -> web.Response:
        raise web.HTTPFound("/report")

    async def _html(self, request: web.Request) -> web.Response:
        return await self._answer(request, "text/html", page.render, self._scanned.html)

    async def _json(self, request: web.Request) -> web.Response:
        return await self._answer(request, "application/json", document.render)

    async def _answer(
        self,
        request: web.Request,
        content_type: str,
        render: Callable[[Document], str],
        whole: Callable[[], Awaitable[str]] | None = None,
    ) -> web.Response:
        """The last scan, rendered; `whole` gives all of it."""
        found = self._scanned.document
        if found is None:
            return web.Response(text=_NO_SCAN, status=503)
        every = {each.namespace for each in found.summary.namespaces}
        chosen = frozenset(request.query.getall("namespace", ())) & every if "namespace" in request.query else every
        if self._access is not None:
            try:
                token = bearer_token(request.headers.get("Authorization", ""))
                chosen = await self._access.visible(token, chosen)
            except Unauthenticated:
                text = "show a token of the cluster: Authorization: Bearer TOKEN, as `kubectl create token` makes one\n"
                return web.Response(text=text, status=401, headers={"WWW-Authenticate": "Bearer"})
            except ClusterError as error:
                return web.Response(text=f"who may see what could not be determined: {error}\n", status=503)
        if not chosen:
            text = "there is no workload in these namespaces, or you may not list their Pods\n"
            return web.Response(text=text, status=404)
        if whole is not None and chosen == every:
            text = await whole()
        else:
            text = await asyncio.to_thread(lambda: render(_part(found, chosen, every)))
        answer = web.Response(text=text, content_type=content_type, headers=_HEADERS)
        answer.enable_compression()
        return answer


def _part(found: Document, chosen: Collection[str], every: Collection[str]) -> Document:
    return found if len(chosen) == len(every) else document.part(found, chosen)
