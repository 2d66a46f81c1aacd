"""`nonroot serve` as a process: TLS that verifies, free ports, a certificate that is replaced, a quiet end."""

import asyncio
import base64
import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import ANY

import pytest

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Login, Registry
from tests.support.authority import Authority
from tests.support.command import nonroot, start
from tests.support.pods import minimal, tweak
from tests.unit.registry.auth.test_credential_providers import answer, provider
from tests.unit.registry.stubs import Stub
from tests.unit.server.test_asgi import review
from webhook.server import certificates

POLICY = """
apiVersion: nonroot.dev/v1alpha1
kind: NonRootPolicy
metadata: {name: strict}
spec: {mode: Enforce}
"""
STANDALONE = ("serve", "--standalone", "--port", "0", "--metrics-port", "0")
START_LIMIT = 20.0  # seconds


class Server:
    """A running `nonroot serve`."""

    def __init__(self, *arguments: str) -> None:
        read, write = os.pipe()
        self.stderr = os.fdopen(read)
        with os.fdopen(write, "w") as written, Path(os.devnull).open() as nothing:
            self.process = start([*STANDALONE, *arguments], (nothing, written, written))
        self.ports: list[int] = []
        self.said = ""
        while len(self.ports) < 2:
            line = self.stderr.readline()
            assert line, self.said
            self.said += line
            if match := re.search(r"at https?://\S+:(\d+)$", line.strip()):
                self.ports.append(int(match[1]))

    def get(self, path: str) -> bytes:
        """A path of the plain port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[1]}{path}", timeout=5) as reply:
            data: bytes = reply.read()
        return data

    def connect(self, ca: bytes) -> http.client.HTTPSConnection:
        """A connection to the secure port that trusts `ca` alone."""
        context = ssl.create_default_context(cadata=ca.decode())
        return http.client.HTTPSConnection("localhost", self.ports[0], timeout=5, context=context)

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        with self.stderr:
            self.said += self.stderr.read()
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy file."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def server(policy: Path) -> Iterator[Server]:
    """A self-signed server that enforces."""
    running = Server("--self-signed", "--policy", str(policy))
    yield running
    if running.process.is_alive():
        running.stop()


def _validate(connection: http.client.HTTPSConnection, body: bytes, path: str = "/validate") -> tuple[int, bytes]:
    connection.request("POST", f"{path}?timeout=5s", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    return reply.status, reply.read()


def test_only_clients_of_the_given_authority_are_answered(policy: Path, tmp_path: Path) -> None:
    """As an API server shows a certificate that its kubeconfig for webhooks has; probes need none."""
    authority = Authority(tmp_path)
    running = Server("--self-signed", "--policy", str(policy), "--client-ca", str(authority.certificate))
    try:
        ca = running.get("/ca.crt")
        stranger = running.connect(ca)
        with pytest.raises((OSError, http.client.HTTPException)):  # the handshake of TLS 1.3 ends before it is refused
            _validate(stranger, review(minimal()))
        stranger.close()
        context = ssl.create_default_context(cadata=ca.decode())
        context.load_cert_chain(authority.certificate, authority.key)
        connection = http.client.HTTPSConnection("localhost", running.ports[0], timeout=5, context=context)
        assert _validate(connection, review(minimal()))[0] == 200
        connection.close()
        assert running.get("/healthz") == b"ok\n"
    finally:
        running.stop()


def _identity(connection: http.client.HTTPSConnection) -> tuple[int, dict[str, object]]:
    connection.request("GET", "/v1/identities?image=A+B")
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def test_the_identity_api_answers_clients_of_its_authority(policy: Path, tmp_path: Path) -> None:
    """Reviews need no certificate; a change of the CA is taken up, and the former one's certificates are worth nothing then."""
    first, second = (Authority(_folder(tmp_path / name), name) for name in ("first", "second"))
    bundle = tmp_path / "ca.crt"
    bundle.write_text(first.pem)
    running = Server(
        "--self-signed", "--policy", str(policy), "--identity-api", "--identity-api-client-ca", str(bundle)
    )
    try:
        ca = running.get("/ca.crt")

        def client(authority: Authority | None = None) -> http.client.HTTPSConnection:
            context = ssl.create_default_context(cadata=ca.decode())
            if authority is not None:
                context.load_cert_chain(authority.certificate, authority.key)
            return http.client.HTTPSConnection("localhost", running.ports[0], timeout=5, context=context)

        stranger, known, unknown = client(), client(first), client(second)
        assert _validate(stranger, review(minimal()))[0] == 200
        assert _identity(stranger)[0] == 401
        status, answered = _identity(known)
        assert (status, answered["unknown"]) == (200, {"cause": "invalid", "detail": ANY})
        assert _validate(known, review(minimal()))[0] == 200
        with pytest.raises((OSError, http.client.HTTPException)):
            _identity(unknown)
        bundle.write_text(second.pem)
        deadline = time.monotonic() + START_LIMIT
        while _identity(known)[0] != 401:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        renewed = client(second)
        assert _identity(renewed)[0] == 200
        counted = running.get("/metrics").decode()
        assert 'nonroot_identity_requests_total{path="/v1/identities",status="200"}' in counted
        with pytest.raises(urllib.error.HTTPError, match="404"):
            running.get("/v1/identities?image=a")
        for each in (stranger, known, unknown, renewed):
            each.close()
    finally:
        running.stop()


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_without_the_flag_there_is_no_identity_api(server: Server) -> None:
    connection = server.connect(server.get("/ca.crt"))
    for path in ("/v1/identities?image=a", "/externaldata", "/openapi.json"):
        connection.request("GET", path)
        reply = connection.getresponse()
        assert (reply.status, reply.read()) == (404, b"Not Found")
    connection.close()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--identity-api",), "--identity-api with --standalone needs --identity-api-client-ca"),
        (("--identity-api-audience", "x"), "need --identity-api"),
        (("--identity-api", "--identity-api-client-ca", "/no/such"), "cannot verify clients by /no/such: No such file"),
    ],
)
def test_an_identity_api_that_nobody_could_ask_is_no_server(arguments: tuple[str, ...], says: str) -> None:
    done = nonroot("serve", "--standalone", "--self-signed", *arguments)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_the_oldest_version_of_tls_can_be_chosen(policy: Path) -> None:
    running = Server("--self-signed", "--policy", str(policy), "--tls-min-version", "1.3")
    try:
        context = ssl.create_default_context(cadata=running.get("/ca.crt").decode())
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        connection = http.client.HTTPSConnection("localhost", running.ports[0], timeout=5, context=context)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            connection.connect()
        newer = running.connect(running.get("/ca.crt"))
        assert _validate(newer, review(minimal()))[0] == 200
        newer.close()
    finally:
        running.stop()


def test_the_cipher_suites_can_be_chosen(policy: Path) -> None:
    """Of TLS 1.2; those of 1.3 stay. The certificate that is made has an ECDSA key."""
    chosen = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    running = Server("--self-signed", "--policy", str(policy), "--tls-cipher-suite", chosen)
    try:
        context = ssl.create_default_context(cadata=running.get("/ca.crt").decode())
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        for offered, spoken in (("ECDHE-ECDSA-AES128-GCM-SHA256", False), ("ECDHE+AESGCM", True)):
            context.set_ciphers(offered)
            connection = http.client.HTTPSConnection("localhost", running.ports[0], timeout=5, context=context)
            if not spoken:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    connection.connect()
                continue
            connection.connect()
            assert (connection.sock.cipher() or ("",))[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
            connection.close()
    finally:
        running.stop()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--tls-cipher-suite", "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
            "is not one of 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'",
        ),
        (("--tls-cipher-suite", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "--tls-min-version", "1.3"), "leave out one"),
        (("--metrics-authentication",), "--metrics-authentication needs --metrics-tls"),
        (("--metrics-authentication", "--metrics-tls"), "--metrics-authentication is not for --standalone"),
    ],
)
def test_what_cannot_be_served_is_refused_with_words(arguments: tuple[str, ...], says: str) -> None:
    done = nonroot("serve", "--standalone", "--self-signed", *arguments)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_probes_and_metrics_can_be_served_over_tls(policy: Path, tmp_path: Path) -> None:
    """By the certificate of the reviews, but to whoever shows none: neither the kubelet nor Prometheus has the API server's."""
    authority = Authority(tmp_path)
    ca, certificate, key = certificates.self_signed(("localhost",), datetime.now(UTC))
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    files = ("--cert", str(tmp_path / "tls.crt"), "--key", str(tmp_path / "tls.key"))
    running = Server(*files, "--policy", str(policy), "--client-ca", str(authority.certificate), "--metrics-tls")
    try:
        assert "probes and metrics at https://" in running.said
        context = ssl.create_default_context(cadata=ca.decode())
        connection = http.client.HTTPSConnection("localhost", running.ports[1], timeout=5, context=context)
        for path, begins in (("/readyz", b"ok\n"), ("/metrics", b"# HELP")):
            connection.request("GET", path)
            reply = connection.getresponse()
            assert (reply.status, reply.read().startswith(begins)) == (200, True)
        connection.close()
        with pytest.raises((OSError, http.client.HTTPException)):
            running.get("/metrics")
    finally:
        running.stop()


def test_reviews_are_answered_over_verified_tls_on_one_connection(server: Server) -> None:
    connection = server.connect(server.get("/ca.crt"))
    for user, allowed in ((0, False), (1000, True)):
        status, body = _validate(connection, review(tweak(minimal(), {"spec.securityContext.runAsUser": user})))
        assert (status, json.loads(body)["response"]["allowed"]) == (200, allowed)
    status, body = _validate(connection, b"{}")
    assert (status, b"expected apiVersion" in body) == (400, True)
    connection.close()
    assert server.get("/readyz") == b"ok\n"
    assert b'nonroot_reviews_total{decision="deny"' in server.get("/metrics")


def test_sigterm_ends_it_with_idle_connections_open(server: Server) -> None:
    connection = server.connect(server.get("/ca.crt"))
    _validate(connection, review(minimal()))
    assert server.stop() == 0
    assert "Traceback" not in server.said
    connection.close()


def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    first, second = (certificates.self_signed(("localhost",), datetime.now(UTC)) for _ in range(2))
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    cert.write_bytes(first[1])
    key.write_bytes(first[2])
    server = Server("--cert", str(cert), "--key", str(key))
    try:
        old = server.connect(first[0])
        assert _validate(old, review(minimal()))[0] == 200
        cert.write_bytes(second[1])
        time.sleep(0.1)
        key.write_bytes(second[2])
        deadline = time.monotonic() + START_LIMIT
        while True:
            try:
                new = server.connect(second[0])
                assert _validate(new, review(minimal()))[0] == 200
                break
            except ssl.SSLCertVerificationError:
                assert time.monotonic() < deadline
                time.sleep(0.5)
        assert _validate(old, review(minimal()))[0] == 200  # the former connection goes on
        old.close()
        new.close()
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (POLICY.replace("Enforce", "enforce"), "spec.mode"),
        (POLICY.replace("mode", "modus"), "modus"),
        ("a: [", "is no YAML"),
        (POLICY + "---" + POLICY, "already"),
    ],
)
def test_a_bad_policy_file_is_one_line_that_names_the_field(policy: Path, text: str, says: str) -> None:
    policy.write_text(text)
    done = nonroot("serve", "--standalone", "--self-signed", "--policy", str(policy))
    assert done.returncode == 2
    assert says in done.stderr
    assert str(policy) in done.stderr
    assert done.stderr.count("\n") == 1


async def test_a_registry_config_lets_it_read_what_only_the_operator_may(policy: Path, tmp_path: Path) -> None:
    """With a stub of the kubelet's credential providers, started by the server itself."""
    async with Registry(Login({"AWS": "p"}, scheme="Basic")) as registry:
        registry.push("team/app:1", image(accounts_layer("app:x:1000:1000::/:"), user="app"))
        Stub(tmp_path / "ecr", answer=answer(key=registry.host))
        config = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        (tmp_path / "providers.yaml").write_text(
            json.dumps({**config, "providers": [provider(matchImages=[registry.host])]})
        )
        path = tmp_path / "registries.yaml"
        path.write_text(
            f"{{insecure: ['{registry.host}'], credentialProviders: {{config: providers.yaml, binDirectory: .}}}}"
        )
        arguments = ("--self-signed", "--policy", str(policy), "--registry-config", str(path))
        server = await asyncio.to_thread(Server, *arguments)
        try:
            pod = tweak(minimal(), {"spec.containers.0.image": f"{registry.host}/team/app:1"})
            connection = server.connect(await asyncio.to_thread(server.get, "/ca.crt"))
            _, body = await asyncio.to_thread(_validate, connection, review(pod), "/mutate")
            connection.close()
        finally:
            await asyncio.to_thread(server.stop)
    patch = json.loads(base64.b64decode(json.loads(body)["response"]["patch"]))
    assert '"runAsUser": 1000' in json.dumps(patch)
    assert "Traceback" not in server.said


def test_a_bad_registry_config_is_one_line_that_names_the_field(policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "registries.yaml"
    path.write_text("mirror: {docker.io: [mirror.corp]}")
    done = nonroot("serve", "--standalone", "--self-signed", "--policy", str(policy), "--registry-config", str(path))
    assert done.returncode == 2
    assert done.stderr == f"nonroot: {path}: the document: there is no field 'mirror'; did you mean mirrors?\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--standalone"], "--self-signed"),
        (["--standalone", "--self-signed", "--cert", "x", "--key", "y"], "leave out"),
        (["--standalone", "--cert", "nowhere", "--key", "nowhere"], "cannot serve with"),
        (["--self-signed", "--policy", "nowhere"], "cannot read"),
    ],
)
def test_flags_that_contradict_each_other_are_an_error(arguments: list[str], says: str) -> None:
    done = nonroot("serve", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
