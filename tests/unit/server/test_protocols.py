"""Our HTTP protocol where uvicorn has the parts that it is built on; uvicorn's own, and the same answers, where it has not."""

import ast
import asyncio
import inspect
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest
from uvicorn.protocols.http import flow_control

from tests.unit.server.test_fast_path import PLAIN, reviews
from webhook.server import fast_path, limits, protocols
from webhook.server.asgi import Reviews
from webhook.server.server import _Server

__all__ = ["reviews"]


@pytest.fixture(autouse=True)
def _nobody_was_warned() -> Iterator[None]:
    protocols._warn.cache_clear()
    yield
    protocols._warn.cache_clear()


def test_the_installed_uvicorn_has_every_part(reviews: Reviews, caplog: pytest.LogCaptureFixture) -> None:
    assert protocols.protocol(reviews) is fast_path.ReviewProtocol
    assert protocols.protocol(object()) is limits.BoundedProtocol
    assert caplog.messages == []


def test_the_parts_are_those_that_are_used() -> None:
    """Whatever our classes take from themselves and define nowhere is uvicorn's."""
    used, own = set(), set()
    for module in (fast_path, limits):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Attribute):
                if ast.unparse(node.value) in {"self", "super()", "protocol", "self.protocol"}:
                    used.add(node.attr)
                    if isinstance(node.ctx, ast.Store):
                        own.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in protocols.PARTS:
                own.add(node.name)
    assert used - own <= protocols.PARTS
    assert protocols.PARTS - used == set()


@pytest.mark.parametrize("lacks", ["a method", "a limit", "the module"])
async def test_without_a_part_reviews_are_answered_by_uvicorns_own(
    lacks: str, reviews: Reviews, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two servers, and one line that says which part."""
    match lacks:
        case "a method":
            monkeypatch.setattr(protocols, "PARTS", protocols.PARTS | {"a_part_of_old"})
        case "a limit":
            monkeypatch.delattr(flow_control, "HIGH_WATER_LIMIT")
        case _:
            monkeypatch.setattr(protocols, "_MODULE", "uvicorn.protocols.http.of_old")
    server, _ = _Server(reviews), _Server(reviews._fallback)
    (line,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "uvicorn's own is used" in line.getMessage()
    if lacks == "a method":
        assert "(a_part_of_old)" in line.getMessage()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        try:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(PLAIN)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            length = next(
                int(each[16:]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-length: ")
            )
            body = json.loads(await reader.readexactly(length))
            writer.close()
        finally:
            server.should_exit = True
            await serving
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body["kind"] == "AdmissionReview"
