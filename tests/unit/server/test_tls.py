"""The certificate that is served, and what is spoken."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from webhook.errors import InvalidSetting
from webhook.server import certificates, tls
from webhook.server.cipher_suites import CIPHER_SUITES
from webhook.server.tls import ServingCertificate, TlsOptions, self_signed_files

HOST = "localhost"


def test_an_authority_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"cannot verify clients by .*gone\.pem: No such file"):
        ServingCertificate(tmp_path / "a", tmp_path / "b", client_ca=tmp_path / "gone.pem")


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"cannot serve with .*gone\.crt and .*: No such file"):
        ServingCertificate(tmp_path / "gone.crt", tmp_path / "gone.key")


@pytest.mark.parametrize(("name", "openssl"), CIPHER_SUITES.items())
def test_each_cipher_suite_alone_is_one_that_openssl_knows(name: str, openssl: str) -> None:
    """OpenSSL passes over names that it does not know, beside others that it does."""
    context = TlsOptions(cipher_suites=(name,)).context()
    assert [each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"] == [openssl]


def test_without_a_choice_there_are_openssls_own() -> None:
    ours, usual = (
        {each["name"] for each in context.get_ciphers()}
        for context in (TlsOptions().context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    )
    assert ours == usual


def test_cipher_suites_of_a_version_that_is_not_spoken_are_refused() -> None:
    options = TlsOptions("1.3", ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",))
    with pytest.raises(InvalidSetting, match=r"TLS 1\.2, which --tls-min-version=1\.3 rules out: leave out one"):
        options.check()
    TlsOptions("1.3").check()


def shown(context: ssl.SSLContext, ca: bytes) -> bytes:
    """The certificate, PEM, that a client gets who trusts `ca` alone."""
    client = ssl.create_default_context(cadata=ca.decode())
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=HOST)
    other = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (one, other, one):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = one.getpeercert(binary_form=True)
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der).encode()


async def test_another_certificate_is_served_until_the_files_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the controller's, whose Secret it makes itself after an installation."""
    monkeypatch.setattr(tls, "INTERVAL", 0.01)
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    ca, certificate, private = certificates.self_signed((HOST,), datetime.now(UTC))
    with self_signed_files((HOST,)) as (first, *meanwhile):
        serving = ServingCertificate(cert, key, meanwhile=(meanwhile[0], meanwhile[1]))
        assert meanwhile[1].stat().st_mode & 0o077 == 0
        watching = asyncio.create_task(serving.watch())
        await asyncio.sleep(0.05)
        assert shown(serving.context, first) == meanwhile[0].read_bytes()
        key.write_bytes(private)
        cert.write_bytes(certificate)
        async with asyncio.timeout(5):
            while not serving.expiry:
                await asyncio.sleep(0.01)
        watching.cancel()
    assert not meanwhile[0].exists()
    assert shown(serving.context, ca) == certificate
    assert serving.expiry == x509.load_pem_x509_certificate(certificate).not_valid_after_utc.timestamp()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
