"""Against the real Distribution registry over TLS: Basic from an htpasswd file, and tokens from a service of our own."""

import base64
import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from deploy.dev.oci import image, index
from tests.support.authority import Authority
from tests.support.distribution import Distribution, password_file, trusting
from tests.unit.registry.samples import ACCOUNTS, BASE, NAMED, Connect, docker_config
from webhook.registry.transport.messages import Cost

pytestmark = [
    pytest.mark.skipif(
        not shutil.which("docker-registry") or not shutil.which("skopeo"), reason="needs docker-registry, skopeo"
    ),
]

BOTH = index(NAMED, image(BASE, user="1000", architecture="arm64"))


class TokenService:
    """Signs tokens for one user, who may do everything; and for nobody, who may pull `public/…`."""

    def __init__(self, authority: Authority) -> None:
        self.asked: list[str] = []
        self.url = ""
        self._authority = authority

    async def start(self) -> web.AppRunner:
        """Listen over TLS."""
        application = web.Application()
        application.router.add_get("/token", self._token)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._authority.context).start()
        self.url = f"https://127.0.0.1:{runner.addresses[0][1]}/token"
        return runner

    async def _token(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        self.asked.append(given)
        known = given == "Basic " + base64.b64encode(b"app:secret").decode()
        if given and not known:
            return web.Response(status=401)
        access = []
        for scope in request.query.getall("scope", []):
            kind, name, actions = scope.split(":")
            if known or name.startswith("public/"):
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        return web.json_response({"token": self._signed(access), "expires_in": 300})

    def _signed(self, access: list[dict[str, Any]]) -> str:
        now = int(time.time())
        certificate = base64.b64encode(self._authority.public.public_bytes(serialization.Encoding.DER)).decode()
        header = {"typ": "JWT", "alg": "ES256", "x5c": [certificate]}
        claims = {"iss": "test", "aud": "reg", "sub": "app", "nbf": now - 60, "iat": now, "exp": now + 300}
        signed = f"{_part(header)}.{_part({**claims, 'jti': secrets.token_hex(8), 'access': access})}"
        pair = decode_dss_signature(self._authority.private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = b"".join(number.to_bytes(32) for number in pair)
        return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A fresh one."""
    return Authority(tmp_path)


@pytest.fixture
async def basic(tmp_path: Path, authority: Authority) -> AsyncIterator[Distribution]:
    """A registry that knows its users itself."""
    distribution = Distribution(tmp_path, authority, password_file(tmp_path))
    try:
        await distribution.ready()
        yield distribution
    finally:
        distribution.stop()


@pytest.fixture
async def service(authority: Authority) -> AsyncIterator[TokenService]:
    """The token service."""
    tokens = TokenService(authority)
    runner = await tokens.start()
    yield tokens
    await runner.cleanup()


@pytest.fixture
async def bearer(tmp_path: Path, authority: Authority, service: TokenService) -> AsyncIterator[Distribution]:
    """A registry that asks for tokens of the service."""
    auth = {
        "token": {
            "realm": service.url,
            "service": "reg",
            "issuer": "test",
            "rootcertbundle": str(authority.certificate),
        }
    }
    distribution = Distribution(tmp_path, authority, auth)
    try:
        await distribution.ready()
        yield distribution
    finally:
        distribution.stop()


async def test_basic_over_tls(basic: Distribution, connect: Connect, authority: Authority) -> None:
    """Index, named user, layers; refused without the password, and told so when the image is not there."""
    await basic.push("team/app:1", BOTH)
    settings = trusting(authority)
    client = connect(None, docker_config(basic.host, "app", "secret"), **settings)
    cost = Cost()
    found = await client.image(f"{basic.host}/team/app:1", cost=cost)
    assert found.digest == BOTH.digest
    assert {str(each.platform): each.accounts for each in found.platforms} == {
        "linux/amd64": ACCOUNTS,
        "linux/arm64": None,
    }
    assert cost.requests == 8  # the index twice, two manifests, two configs, two layers
    assert await client.cause(f"{basic.host}/team/app:2") == "notFound"
    assert await connect(**settings).cause(f"{basic.host}/team/app:1") == "unauthorized"
    wrong = connect(None, docker_config(basic.host, "app", "wrong"), **settings)
    assert await wrong.cause(f"{basic.host}/team/app:1") == "unauthorized"


async def test_tokens_over_tls(
    bearer: Distribution, connect: Connect, authority: Authority, service: TokenService
) -> None:
    """One token for a repository; nobody gets one too, which is good for what is public."""
    await bearer.push("team/app:1", BOTH)
    await bearer.push("public/app:1", BOTH)
    service.asked.clear()
    settings = trusting(authority)
    client = connect(None, docker_config(bearer.host, "app", "secret"), **settings)
    assert (await client.image(f"{bearer.host}/team/app:1")).platforms[0].accounts == ACCOUNTS
    assert len(service.asked) == 1
    nobody = connect(**settings)
    assert (await nobody.image(f"{bearer.host}/public/app:1")).digest == BOTH.digest
    assert await nobody.cause(f"{bearer.host}/team/app:1") == "unauthorized"
    assert service.asked[1:] == ["", "", ""]  # what is refused is refused twice: with the token foreseen, and without


@pytest.mark.parametrize("image_name", ["team/app", "public/app"])
async def test_a_token_of_a_known_realm_over_tls(
    bearer: Distribution, connect: Connect, authority: Authority, service: TokenService, image_name: str
) -> None:
    """A registry takes one that it has not asked for yet: one request less, for whoever has a password and for nobody."""
    await bearer.push(f"{image_name}:1", BOTH)
    config = docker_config(bearer.host, "app", "secret") if image_name == "team/app" else None
    realm = {bearer.host: {"realm": service.url, "service": "reg"}}
    for expected, requests in (
        ({}, 9),
        (realm, 8),
    ):  # two manifests, configs and layers; index, token, and who wants it
        client, cost = connect(None, config, **trusting(authority)), Cost()
        client._session.expected |= expected
        await client.image(f"{bearer.host}/{image_name}:1", cost=cost)
        assert cost.requests == requests
