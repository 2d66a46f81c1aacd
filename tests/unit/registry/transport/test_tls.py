"""TLS: whom to trust, and what is shown."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from deploy.dev.registry import Login, Registry
from tests.support.authority import Authority
from tests.unit.registry.samples import ACCOUNTS, NAMED, Connect, docker_config
from webhook.errors import InvalidSetting
from webhook.registry.settings import ClientCertificate, RegistrySettings
from webhook.registry.transport.egress import TlsContexts


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A fresh one."""
    return Authority(tmp_path)


@pytest.fixture
async def secure(authority: Authority) -> AsyncIterator[Registry]:
    """A registry over TLS."""
    async with Registry(tls=authority.context) as running:
        running.push("team/app:1", NAMED)
        yield running


async def test_a_certificate_is_verified_against_the_given_authority(
    secure: Registry, connect: Connect, authority: Authority
) -> None:
    """And the address must be allowed beside."""
    reference = f"{secure.host}/team/app:1"
    trusting = {"authorities": {"127.0.0.1": authority.pem}}
    await connect(insecure=frozenset(), allowed=frozenset({secure.host}), **trusting).image(reference)
    detail = await connect(insecure=frozenset(), allowed=frozenset({secure.host})).detail(reference)
    assert "add its CA" in detail
    detail = await connect(insecure=frozenset(), **trusting).detail(reference)
    assert "not allowed" in detail


async def test_the_authorities_of_the_system_are_trusted(
    secure: Registry, connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read once, when the first host that has none of its own is asked."""
    reference, settings = f"{secure.host}/team/app:1", {"allowed": frozenset({secure.host}), "insecure": frozenset()}
    assert "add its CA" in await connect(**settings).detail(reference)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    client = connect(**settings)
    await client.image(reference)
    made = TlsContexts(RegistrySettings())
    assert len({*await asyncio.gather(made.of("a.io"), made.of("b.io"))}) == 1


async def test_so_are_they_for_a_proxy_by_tls(
    secure: Registry, connect: Connect, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the registry behind it speaks plain HTTP, too."""
    monkeypatch.setenv("http_proxy", f"https://{secure.host}")
    settings = {"insecure": frozenset({"behind.invalid"}), "proxy": True}
    assert "add its CA" in await connect(**settings).detail("behind.invalid/team/app:1")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    await connect(**settings).image("behind.invalid/team/app:1")


async def test_a_token_service_may_not_be_less_secure(secure: Registry, connect: Connect, authority: Authority) -> None:
    """A registry over TLS gets no token over plain HTTP."""
    secure.login = Login({"u": "p"}, realm="http://127.0.0.1:1/token")
    settings = {
        "allowed": frozenset({secure.host}),
        "authorities": {secure.host: authority.pem},
        "insecure": frozenset(),
    }
    client = connect(None, docker_config(secure.host, "u", "p"), **settings)
    assert "not https" in await client.detail(f"{secure.host}/team/app:1")
    secure.login = Login({"u": "p"})
    other = connect(None, docker_config(secure.host, "u", "p"), **settings)
    assert (await other.image(f"{secure.host}/team/app:1")).platforms[0].accounts == ACCOUNTS


async def test_plain_http_is_not_tried_behind_tls(secure: Registry, connect: Connect) -> None:
    """A registry over TLS that is listed as insecure speaks no HTTP."""
    client = connect(insecure=frozenset({secure.host}))
    assert await client.cause(f"{secure.host}/team/app:1") == "unreachable"


def test_an_authority_must_be_one() -> None:
    """Or the client does not start."""
    for pem in ("", "no", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"):
        with pytest.raises(InvalidSetting, match="CA given for quay"):
            TlsContexts(RegistrySettings(authorities={"quay.io": pem}))


def test_a_client_certificate_must_be_one(authority: Authority, tmp_path: Path) -> None:
    """And its key not encrypted: nobody is there to type."""
    encrypted = tmp_path / "encrypted.key"
    encrypted.write_bytes(
        authority.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    for key, says in ((encrypted, "is no pair"), (tmp_path / "gone", "cannot be read"), (None, "is no pair")):
        pair = ClientCertificate(authority.certificate, key)
        with pytest.raises(InvalidSetting, match=f"client certificate given for a.io {says}"):
            TlsContexts(RegistrySettings(client_certificates={"a.io": pair}))


async def test_a_port_has_what_its_host_has(authority: Authority) -> None:
    """A client certificate for one port does not cost it the CA of the host."""
    shown = {"a.io:5000": ClientCertificate(authority.certificate, authority.key)}
    made = TlsContexts(RegistrySettings(authorities={"a.io": authority.pem}, client_certificates=shown))
    assert await _trusted(made, "a.io") == await _trusted(made, "a.io:5000") == _of_the_system() + 1
    assert await _trusted(made, "b.io") == _of_the_system()


async def test_an_authority_for_every_host_is_trusted_beside_those_of_one(authority: Authority, tmp_path: Path) -> None:
    """As behind a proxy that inspects TLS."""
    (other := tmp_path / "other").mkdir()
    everywhere = Authority(other).pem
    made = TlsContexts(RegistrySettings(authorities={"a.io": authority.pem}, authority=everywhere))
    assert (await _trusted(made, "a.io"), await _trusted(made, "b.io")) == (_of_the_system() + 2, _of_the_system() + 1)
    with pytest.raises(InvalidSetting, match="the CA given for every host is no PEM certificate"):
        TlsContexts(RegistrySettings(authority="nonsense"))


def _of_the_system() -> int:
    return len(ssl.create_default_context().get_ca_certs())


async def _trusted(contexts: TlsContexts, host: str) -> int:
    return len((await contexts.of(host)).get_ca_certs())
