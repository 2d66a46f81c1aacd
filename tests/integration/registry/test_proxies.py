"""What may stand between us and a registry, as real processes: a pull-through cache, and the proxy of a network."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.dev.oci import image, index
from tests.support.authority import Authority
from tests.support.distribution import Distribution, free_port, listening, password_file, trusting
from tests.unit.registry.samples import ACCOUNTS, BASE, NAMED, Connect, docker_config
from webhook.registry.settings import Host

pytestmark = [
    pytest.mark.skipif(
        not all(map(shutil.which, ("docker-registry", "skopeo", "tinyproxy"))),
        reason="needs docker-registry, skopeo, tinyproxy",
    ),
]

BOTH = index(NAMED, image(BASE, user="1000", architecture="arm64"))


ANY = "0.0.0.0"  # noqa: S104  # an address of this machine that, unlike loopback ones, is asked through a proxy


def outside(registry: Distribution) -> str:
    """A registry's authority as if it were on another machine."""
    return registry.host.replace("127.0.0.1", ANY)


class Proxy:
    """tinyproxy on loopback, which wants to know who asks."""

    def __init__(self, folder: Path) -> None:
        self.authority = f"127.0.0.1:{free_port()}"
        self.url = f"http://me:hunter2@{self.authority}"
        self._log = folder / "tinyproxy.log"
        self._log.touch(0o666)
        settings = {"Port": self.authority.rpartition(":")[2], "Listen": "127.0.0.1", "BasicAuth": "me hunter2"}
        settings |= {"LogFile": f'"{self._log}"', "LogLevel": "Connect", "Timeout": "30", "DisableViaHeader": "Yes"}
        (folder / "tinyproxy.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        self.process = subprocess.Popen(["tinyproxy", "-d", "-c", str(folder / "tinyproxy.conf")])

    @property
    def asked(self) -> list[str]:
        """The first lines of the requests that it was sent."""
        lines = self._log.read_text().splitlines()
        return [line.rpartition("): ")[2] for line in lines if "Request (file descriptor" in line]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A fresh one."""
    return Authority(tmp_path)


@pytest.fixture
async def home(tmp_path: Path, authority: Authority) -> AsyncIterator[Distribution]:
    """A registry with an image for its one user."""
    async for running in _with_an_image(Distribution(tmp_path / "home", authority, password_file(tmp_path))):
        yield running


@pytest.fixture
async def upstream(tmp_path: Path, authority: Authority) -> AsyncIterator[Distribution]:
    """One with an image for everybody: of passwords a cache of this version knows only those for tokens."""
    async for running in _with_an_image(Distribution(tmp_path / "upstream", authority)):
        yield running


async def _with_an_image(running: Distribution) -> AsyncIterator[Distribution]:
    try:
        await running.ready()
        await running.push("team/app:1", BOTH)
        yield running
    finally:
        running.stop()


@pytest.fixture
async def cache(tmp_path: Path, authority: Authority, upstream: Distribution) -> AsyncIterator[Distribution]:
    """Its pull-through cache, open to everybody."""
    running = Distribution(tmp_path / "cache", authority, upstream=upstream.host)
    try:
        await running.ready()
        yield running
    finally:
        running.stop()


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The proxy of the environment, for everything."""
    running = Proxy(tmp_path)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, running.url)
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    try:
        yield running
    finally:
        running.process.terminate()
        running.process.wait(10)


async def test_a_pull_through_cache_answers_as_the_registry_does(
    cache: Distribution, upstream: Distribution, connect: Connect, authority: Authority
) -> None:
    """Under its own name or as a mirror; and what it has seen, also while the registry is away."""
    direct = connect(**trusting(authority))
    found = await direct.image(f"{cache.host}/team/app:1", accounts=True)
    assert found.digest == BOTH.digest
    assert {each.accounts for each in found.platforms} == {ACCOUNTS}
    assert await direct.cause(f"{cache.host}/team/app:2") == "notFound"
    mirrored = connect(**trusting(authority), hosts={upstream.host: (Host(cache.host), Host())})
    assert (await mirrored.image(f"{upstream.host}/team/app:1")).digest == found.digest
    upstream.stop()
    again = connect(**trusting(authority))
    assert (await again.image(f"{cache.host}/team/app@{BOTH.digest}", accounts=True)).platforms == found.platforms


async def test_a_proxy_carries_tls_and_learns_no_secret(
    proxy: Proxy, home: Distribution, connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told where to, and nothing else; who is listed in NO_PROXY is spoken to directly."""
    assert await listening(proxy.authority)
    config = docker_config(outside(home), "app", "secret")
    client = connect(None, config, **trusting(authority, ANY), proxy=True)
    assert (await client.image(f"{outside(home)}/team/app:1")).platforms[0].accounts == ACCOUNTS
    assert set(proxy.asked) == {f"CONNECT {outside(home)} HTTP/1.1"}
    before = len(proxy.asked)
    monkeypatch.setenv("no_proxy", "0.0.0.0/8")
    await connect(None, config, **trusting(authority, ANY), proxy=True).image(f"{outside(home)}/team/app:1")
    await connect(None, config, **trusting(authority, ANY)).image(f"{outside(home)}/team/app:1")
    assert len(proxy.asked) == before


async def test_the_error_of_a_proxy_does_not_print_its_password(
    proxy: Proxy, home: Distribution, connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registry is unreachable then, and the finding names no credential."""
    assert await listening(proxy.authority)
    reference = f"{outside(home)}/team/app:1"
    monkeypatch.setenv("https_proxy", proxy.url.replace("hunter2", "wrong-hunter3"))
    refused = connect(**trusting(authority, ANY), proxy=True)
    assert await refused.cause(reference) == "unreachable"
    proxy.process.terminate()
    proxy.process.wait(10)
    away = connect(**trusting(authority, ANY), proxy=True)
    assert await away.cause(reference) == "unreachable"
    for client, says in ((refused, "answered 401"), (away, "does not accept a connection")):
        detail = await client.detail(reference)
        assert f"{reference.partition('/')[0]} is behind a proxy that {says}" in detail
        assert "hunter" not in detail


async def test_a_proxy_gives_no_way_to_addresses_that_are_denied(
    proxy: Proxy, home: Distribution, connect: Connect, authority: Authority
) -> None:
    """A literal address is checked before the proxy is asked."""
    assert await listening(proxy.authority)
    client = connect(insecure=frozenset(), authorities={ANY: authority.pem}, proxy=True)
    assert "has an address that is not allowed" in await client.detail(f"{outside(home)}/team/app:1")
    assert proxy.asked == []
