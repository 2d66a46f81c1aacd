"""An API server, a registry with some images, and the webhook with its identity API, as processes on loopback."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
import yaml

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from deploy.local import build
from tests.bench import servers
from tests.e2e.target import Target, eventually
from tests.support import cluster, control_plane
from tests.support.api_server import Refused
from tests.support.authority import Authority
from tests.support.helm import template
from tests.support.pods import Object
from webhook.server import certificates

UID = 1500  # of the USER app


class Ours:
    """The webhook. It may be stopped and started; its certificate and the CA of its callers are files that may change."""

    def __init__(self, folder: Path, insecure: str, callers: Path) -> None:
        self.folder = folder
        self.callers = callers
        self.host = cluster.own_address()
        self.ca = self.renew()
        self.port, self._metrics = servers.ports(2)
        self._command = [sys.executable, "-m", "webhook", "serve", "--host", self.host, "--port", str(self.port)]
        self._command += ["--metrics-port", str(self._metrics), "--insecure-registry", insecure, "--identity-api"]
        self._command += ["--identity-api-client-ca", str(callers)]
        self._command += ["--identity-api-audience", "kyverno-svc.kyverno.io"]
        self._command += ["--cert", str(folder / "tls.crt"), "--key", str(folder / "tls.key")]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    def renew(self) -> bytes:
        """Another certificate, of another CA, which is given."""
        ca, certificate, key = certificates.self_signed((self.host,), datetime.now(UTC))
        (self.folder / "tls.crt").write_bytes(certificate)
        (self.folder / "tls.key").write_bytes(key)
        return ca

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._ready, "the webhook to be ready")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def status(self, certificate: Path, key: Path) -> int:
        """That of an answer to whoever shows this certificate; 0 where the connection is ended."""
        context = ssl.create_default_context(cadata=self.ca.decode())
        context.load_cert_chain(certificate, key)
        try:
            with urllib.request.urlopen(
                f"{self.url}/v1/identities?image=127.0.0.1:1/app:1", context=context, timeout=10
            ) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self._metrics}/readyz", timeout=1) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


class Images(msgspec.Struct, frozen=True):
    """References: `named` has the USER app, `numeric` its uid, `root` none, `nobody` one without an account.

    `missing` is in no registry.
    """

    host: str

    @property
    def named(self) -> str:
        return f"{self.host}/named:1"

    @property
    def numeric(self) -> str:
        return f"{self.host}/numeric:1"

    @property
    def root(self) -> str:
        return f"{self.host}/root:1"

    @property
    def nobody(self) -> str:
        return f"{self.host}/nobody:1"

    @property
    def missing(self) -> str:
        return f"{self.host}/missing:1"


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    with _serving() as registry:
        for name, user in (("named", "app"), ("numeric", str(UID)), ("root", ""), ("nobody", "gone")):
            registry.push(f"{name}:1", image(accounts_layer(f"app:x:{UID}:{UID}::/:/bin/sh"), user=user))
        yield Images(registry.host)


@contextmanager
def _serving() -> Iterator[Registry]:
    """A registry on a loop of its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    registry = Registry()
    try:
        asyncio.run_coroutine_threadsafe(registry.__aenter__(), loop).result()
        yield registry
        asyncio.run_coroutine_threadsafe(registry.__aexit__(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """An API server of its own, whose kubeconfig is everybody's here."""
    if not os.environ.get("NONROOT_ENGINES"):
        pytest.skip("builds other engines, which takes an hour: make test-engines")
    build.ensure(["kubernetes", "etcd", "helm"])
    with control_plane.alone() as layout, mock.patch.dict(os.environ, KUBECONFIG=str(layout.kubeconfig)):
        found = Target(os.environ, "")
        with cluster.crds(found):
            yield found


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate that the engine serves with, and shows."""
    return Authority(tmp_path_factory.mktemp("engine"), "engine")


@pytest.fixture(scope="session")
def ours(target: Target, images: Images, engine: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    """The webhook, which the engine's certificate may ask for every namespace."""
    folder = tmp_path_factory.mktemp("ours")
    callers = folder / "callers.crt"
    callers.write_text(engine.pem)
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "nonroot.dev:certificate:engine"}
    rendered = yaml.safe_load_all(template(identityApi={"enabled": True, "subjects": [subject]}))
    target.apply(*[each for each in rendered if each and each["metadata"]["name"] == "nonroot-webhook-identities"])
    made = Ours(folder, images.host, callers)
    made.start()
    yield made
    made.stop()


def pod(image_: str, name: str = "web", **context: Any) -> Object:
    """A Pod of one container."""
    container = {"name": "app", "image": image_, "securityContext": context}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def refusal(target: Target, namespace: str, given: Object) -> str:
    """Why a Pod is refused in a namespace; empty where it is not."""
    try:
        target.kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", text=json.dumps(given))
    except Refused as refused:
        return str(refused)
    return ""
