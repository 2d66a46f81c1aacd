"""`make install`: which registries are this machine's own, and which answer."""

import asyncio
import socket

import pytest

from deploy.install import _is_loopback, _reach_registry
from deploy.local.errors import ClusterError


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.0.0.2", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("registry.example.com", False),
        ("10.0.0.1:5000", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert _is_loopback(host) is loopback


@pytest.mark.parametrize(("scheme", "hint"), [("http", "$"), ("https", "; INSECURE=1 asks by http://$")])
def test_a_registry_that_is_not_there_is_told_of_before_the_build(scheme: str, hint: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"{scheme}://127.0.0.1:{port}/v2/"
    with pytest.raises(ClusterError, match=rf"no registry answers at {url}: .*refused{hint}"):
        _reach_registry(url)


async def test_a_registry_that_lets_nobody_in_answers() -> None:
    """Whether the push is let in is between the two of them."""
    server = await asyncio.start_server(_unauthorized, "127.0.0.1", 0)
    async with server:
        await asyncio.to_thread(_reach_registry, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v2/")


async def _unauthorized(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    writer.close()
