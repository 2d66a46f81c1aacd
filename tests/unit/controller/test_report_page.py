"""The report page over HTTP: what is shown of the last scan, and to whom."""

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from tests.unit.cli.output.test_scan import REPORTED
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Unreachable
from webhook.controller import probes
from webhook.controller.report_page import ReportPage
from webhook.controller.report_readers import ReportReaders, Unauthenticated
from webhook.scan.document import Document, Skip

SKIPPED = (Skip("Deployment tools/odd", "why"), Skip("Pods of Namespace shop", "why"), Skip("CronJobs", "why"))
WHOLE = msgspec.structs.replace(REPORTED, skipped=SKIPPED)
OWN, OTHER = sorted({each.namespace for each in WHOLE.workloads})[:2]


class Scanned:
    """A scan that a test sets."""

    def __init__(self, document: Document | None) -> None:
        self.document = document

    async def html(self) -> str:
        return "<p>all of it</p>"


class Readers(ReportReaders):
    """Tokens and what they open."""

    def __init__(self, **tokens: Collection[str] | Exception) -> None:
        super().__init__(Cluster())
        self.tokens = tokens

    async def visible(self, token: str, namespaces: Collection[str]) -> frozenset[str]:
        found = self.tokens.get(token, Unauthenticated())
        if isinstance(found, Exception):
            raise found
        return frozenset(found) & frozenset(namespaces)


@asynccontextmanager
async def asked(document: Document | None, readers: Readers | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    routes = ReportPage(Scanned(document), readers).routes()
    async with (
        probes.serve(probes.State(), "127.0.0.1", 0, routes=routes) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client


async def get(client: aiohttp.ClientSession, path: str, token: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client.get(path, headers=headers) as response:
        return response.status, await response.text()


async def test_the_root_leads_to_the_page_of_everything() -> None:
    async with asked(WHOLE) as client, client.get("/") as response:
        assert (response.url.path, await response.text()) == ("/report", "<p>all of it</p>")
        assert response.headers["Cache-Control"] == "no-store"


async def test_before_the_first_scan_there_is_nothing_to_show() -> None:
    async with asked(None) as client:
        for path in ("/report", "/report.json"):
            assert await get(client, path) == (503, "there has been no scan yet; come again in a minute\n")


async def test_the_same_is_there_as_json() -> None:
    async with asked(WHOLE) as client:
        status, text = await get(client, "/report.json")
        assert (status, msgspec.json.decode(text, type=Document)) == (200, WHOLE)


async def test_some_namespaces_can_be_asked_for() -> None:
    """With sums of their own, and nothing that was skipped in another one."""
    async with asked(WHOLE) as client:
        status, text = await get(client, f"/report.json?namespace={OTHER}")
        part = msgspec.json.decode(text, type=Document)
        assert (status, {each.namespace for each in part.workloads}) == (200, {OTHER})
        assert [each.namespace for each in part.summary.namespaces] == [OTHER]
        assert part.summary.pods == sum(each.pods for each in part.workloads)
        assert {each.object for each in part.skipped} == {"Deployment tools/odd", "CronJobs"}
        _, both = await get(client, f"/report.json?namespace={OTHER}&namespace={OWN}")
        assert len(json.loads(both)["summary"]["namespaces"]) == 2
        status, page = await get(client, f"/report?namespace={OTHER}")
        assert status == 200
        assert f"<option>{OTHER}</option>" in page
        assert f"<option>{OWN}</option>" not in page
        assert (await get(client, "/report?namespace=gone"))[0] == 404


async def test_with_authentication_everybody_sees_what_they_may() -> None:
    """Another namespace is as good as none, also by its name."""
    readers = Readers(admin=[OWN, OTHER], team=[OTHER], nobody=[], broken=Unreachable("away"))
    async with asked(WHOLE, readers) as client:
        assert await get(client, "/report", "admin") == (200, "<p>all of it</p>")
        for path in ("/report.json", f"/report.json?namespace={OWN}&namespace={OTHER}"):
            status, text = await get(client, path, "team")
            assert (status, {each["namespace"] for each in json.loads(text)["workloads"]}) == (200, {OTHER})
        hidden = await get(client, f"/report.json?namespace={OWN}", "team")
        assert hidden == await get(client, "/report.json?namespace=gone", "team")
        assert (hidden[0], (await get(client, "/report", "nobody"))[0]) == (404, 404)
        assert (await get(client, "/report", "broken"))[0] == 503


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic dGVhbTo="}])
async def test_without_a_token_nothing_is_shown(header: dict[str, str]) -> None:
    async with (
        asked(WHOLE, Readers(team=[OTHER])) as client,
        client.get("/report.json", headers=header) as response,
    ):
        assert (response.status, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert "kubectl create token" in await response.text()
