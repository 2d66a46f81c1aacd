"""What a node's containerd makes of odd registries, beside what we make of them: whatever a node can pull, we read.

The containerd is the one that `deploy/local` builds, with a folder and a socket of its own; `ctr images pull` asks by the
transfer service that the kubelet's pulls go through (containerd internal/cri/server/images/image_pull.go), for this platform alone
as they do, and unpacks it.
The threads that tell of each oddity stand in tests/unit/registry/test_quirks.py.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.dev.oci import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Content, document, index
from deploy.dev.registry import Headers, Login, Redirect, Registry, Replace, Reset, Status
from deploy.local import build
from tests.unit.registry.samples import ACCOUNTS, NAMED, Connect, docker_config
from tests.unit.registry.test_quirks import ANYBODY, BOTH, OTHER, Odd, without
from webhook.image.source import Image, Query
from webhook.registry import local_store
from webhook.registry.settings import Host

pytestmark = pytest.mark.timeout(1800)  # where containerd is built first

BY_GET = Login({"u": "p"}, oauth="get")
UNLABELLED = index(NAMED, Content(OTHER.manifest))
BEARER = 'Bearer realm="URL/token"'
SCOPE = 'scope="repository:NAME:pull"'
CONFIG = """
version = 3
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
  address = "{folder}/containerd.sock"
[ttrpc]
  address = "{folder}/containerd.sock.ttrpc"
# Or what one test has pulled another need not.
[plugins."io.containerd.metadata.v1.bolt"]
  content_sharing_policy = "isolated"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "native"
"""


class Quirk(msgspec.Struct, frozen=True):
    """An oddity of a registry, or of the mirror before it; whether containerd pulls, and what we answer: "image" or a cause."""

    prepare: Callable[[Odd], None]
    node: bool = True
    ours: str = "image"
    login: Login | None = None
    content: Content = NAMED
    of_the_mirror: bool = False


def says(challenge: str) -> Callable[[Odd], None]:
    """Its challenge."""
    return lambda odd: setattr(odd, "challenge", challenge)


def tokens(**change: object) -> Callable[[Odd], None]:
    """Its token service's answer; None leaves a field out, and TOKEN is the token."""

    def prepare(odd: Odd) -> None:
        def answer(_: object, usual: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], bytes]:
            fields = json.loads(usual[2])
            fields |= {key: fields["token"] if value == "TOKEN" else value for key, value in change.items()}
            return (
                200,
                usual[1],
                json.dumps({key: value for key, value in fields.items() if value is not None}).encode(),
            )

        odd.token = answer

    return prepare


def lies(
    *faults: Headers | Redirect | Replace | Reset | Status, path: str = "", method: str = "", times: int | None = None
) -> Callable[[Odd], None]:
    """Its answers."""

    def prepare(odd: Odd) -> None:
        for fault in faults:
            odd.lie(fault, path=path, method=method, times=times)

    return prepare


def typed(content: Content, inside: str | None, outside: str) -> Callable[[Odd], None]:
    """Its media types, in the document and in the header."""

    def prepare(odd: Odd) -> None:
        fields = {key: value for key, value in json.loads(content.manifest.data).items() if key != "mediaType"}
        odd.push("team/app:1", content)
        odd.push("team/app:1", document(fields | ({"mediaType": inside} if inside else {}), outside))

    return prepare


def moved(odd: Odd) -> None:
    """It redirects to another of its repositories, by a relative address."""
    odd.push("moved/app:1", NAMED)
    odd.lie(Redirect("../../../moved/app/manifests/1"), path="^/v2/team/app/manifests/1")


def longer(odd: Odd) -> None:
    """Its layer is a byte shorter than the manifest says."""
    manifest = json.loads(NAMED.manifest.data)
    manifest["layers"][0]["size"] += 1
    odd.push("team/app:1", document(manifest))


def known(odd: Odd) -> None:
    """Its token is a word."""
    odd.token = lambda _seen, _usual: (200, {}, b'{"token":"anonymous"}')
    odd._tokens["anonymous"] = frozenset({"team/app"})


def mirror(*faults: Headers | Replace | Reset | Status, node: bool = True, ours: str = "image") -> Quirk:
    """A mirror with these faults, before a registry without."""
    return Quirk(lies(*faults, path="manifests"), node, ours, of_the_mirror=True)


QUIRKS = {
    "a challenge without a scope": Quirk(says(f'{BEARER},service="r"'), login=BY_GET),
    "a challenge without service and scope": Quirk(says(BEARER), login=BY_GET),
    "a scope without quotes": Quirk(says(f'{BEARER},service="r",scope=repository:NAME:pull'), node=False, login=BY_GET),
    "a realm without quotes": Quirk(says(f"Bearer realm=URL/token,service=r,{SCOPE}"), node=False, login=BY_GET),
    "a challenge in capitals": Quirk(says(f'BEARER Realm="URL/token" , Service="r",S{SCOPE[1:]}'), login=BY_GET),
    "Basic before Bearer": Quirk(says(f'Basic realm="x",{BEARER},{SCOPE}'), node=False, login=BY_GET),
    "Negotiate, NTLM and Digest before Bearer": Quirk(
        says(f'Negotiate, NTLM, Digest qop="auth,auth-int", nonce="a", {BEARER},{SCOPE}'), node=False, login=BY_GET
    ),
    "a realm with a query": Quirk(says(f'Bearer realm="URL/token?account=x",service="r:5000",{SCOPE}'), login=BY_GET),
    "BASIC in capitals": Quirk(says('BASIC realm="Nexus"'), login=Login({"u": "p"}, scheme="Basic")),
    "access_token alone": Quirk(tokens(token=None, access_token="TOKEN"), login=ANYBODY),
    "expires_in as text": Quirk(tokens(expires_in="300"), node=False, login=ANYBODY),
    "expires_in of 0": Quirk(tokens(expires_in=0), login=ANYBODY),
    "expires_in with a fraction": Quirk(tokens(expires_in=299.9), node=False, login=ANYBODY),
    "a refresh_token and more": Quirk(
        tokens(refresh_token="r", token_type="Bearer", issued_at="2026-01-01T00:00:00Z"), login=ANYBODY
    ),
    "a token that is a word": Quirk(known, login=ANYBODY),
    "cookies": Quirk(lies(Headers({"Set-Cookie": "sid=1; Path=/; HttpOnly"}))),
    "no digest header anywhere": Quirk(lies(Headers({"Docker-Content-Digest": None}))),
    "no media type in the manifest": Quirk(typed(NAMED, None, OCI_MANIFEST)),
    "a charset behind the media type": Quirk(typed(NAMED, OCI_MANIFEST, f"{OCI_MANIFEST}; charset=utf-8")),
    "an index under a list's media type": Quirk(typed(BOTH, OCI_INDEX, DOCKER_LIST)),
    "an index without a media type": Quirk(typed(BOTH, None, OCI_INDEX)),
    "text/html": Quirk(lies(Headers({"Content-Type": "text/html"}), path="manifests"), node=False, ours="invalid"),
    "a manifest of schema 1": Quirk(
        lies(Headers({"Content-Type": "application/vnd.docker.distribution.manifest.v1+prettyjws"}), path="manifests"),
        node=False,
        ours="invalid",
    ),
    "an index of which a platform was not copied": Quirk(without(BOTH, 1), content=BOTH),
    "an entry without a platform that is gone": Quirk(without(UNLABELLED, 1), node=False, content=UNLABELLED),
    "a Content-Encoding that is not true": Quirk(lies(Headers({"Content-Encoding": "gzip"}), path="blobs"), node=False),
    "a layer that breaks off once": Quirk(lies(Reset(0), path="blobs", times=1)),
    "a layer a byte shorter than promised": Quirk(longer, node=False, ours="invalid"),
    "402": Quirk(lies(Status(402)), node=False, ours="unauthorized"),
    "410": Quirk(lies(Status(410)), node=False, ours="notFound"),
    "451": Quirk(lies(Status(451)), node=False, ours="unauthorized"),
    "404 with Harbor's code": Quirk(
        lies(Status(404, {}, b'{"errors":[{"code":"NOT_FOUND"}]}')), node=False, ours="notFound"
    ),
    "429 with microseconds, twice": Quirk(
        lies(Status(429, {"Retry-After": "178.188\u00b5s"}), path="manifests", times=2)
    ),
    "HEAD is not allowed": Quirk(lies(Status(405), method="HEAD")),
    "HEAD finds nothing, GET does": Quirk(lies(Status(404), method="HEAD"), node=False),
    "HEAD is forbidden, GET is not": Quirk(lies(Status(403), method="HEAD"), node=False),
    "HEAD fails": Quirk(lies(Status(500), method="HEAD"), node=False),
    "HEAD without a digest": Quirk(lies(Headers({"Docker-Content-Digest": None}), method="HEAD")),
    "HEAD with a digest that is none": Quirk(lies(Headers({"Docker-Content-Digest": "x"}), method="HEAD"), node=False),
    "HEAD with a length of 0": Quirk(lies(Headers({"Content-Length": "0"}), method="HEAD"), node=False),
    "no length of anything": Quirk(lies(Headers({"Content-Length": None}), method="GET")),
    "text/plain": Quirk(lies(Headers({"Content-Type": "text/plain"}), path="manifests"), node=False),
    "application/json": Quirk(lies(Headers({"Content-Type": "application/json"}), path="manifests"), node=False),
    "application/octet-stream": Quirk(
        lies(Headers({"Content-Type": "application/octet-stream"}), path="manifests"), node=False
    ),
    "a Docker media type around an OCI manifest": Quirk(typed(NAMED, OCI_MANIFEST, DOCKER_MANIFEST)),
    "an OCI media type around a Docker manifest": Quirk(typed(NAMED, DOCKER_MANIFEST, OCI_MANIFEST)),
    "token null beside access_token": Quirk(tokens(token=None, access_token="TOKEN", expires_in=None), login=ANYBODY),
    "a relative Location": Quirk(moved),
    "a signed link": Quirk(lies(Redirect("{path}?X-Amz-Signature=a%2Bb%2F%3D&x=%20y"), path="blobs", times=2)),
    "an empty body under its length, always": Quirk(lies(Reset(0), path="blobs"), node=False, ours="unreachable"),
    "503 once": Quirk(lies(Status(503), path="manifests", times=1)),
    "a mirror that wants a password": mirror(Status(401, {"WWW-Authenticate": 'Basic realm="harbor"'})),
    "a mirror that forbids": mirror(Status(403)),
    "a mirror with too many requests": mirror(Status(429)),
    "a mirror that is broken": mirror(Status(500)),
    "a mirror behind an empty ingress": mirror(Status(503)),
    "a mirror that is down": mirror(Reset()),
    "a mirror's log-in page": mirror(
        Headers({"Content-Type": "text/html", "Docker-Content-Digest": None, "Content-Length": "19"}),
        Replace(lambda _: b"<html>log in</html>"),
        node=False,
        ours="invalid",
    ),
}


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a containerd that runs nothing."""
    if os.geteuid():
        pytest.skip("containerd needs root")
    build.ensure(["containerd"])
    folder = tmp_path_factory.mktemp("containerd")
    (folder / "config.toml").write_text(CONFIG.format(folder=folder))
    socket = folder / "containerd.sock"
    command = [build.program("containerd", "containerd"), "--config", str(folder / "config.toml")]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            deadline = time.monotonic() + 60
            while not socket.exists():
                assert running.poll() is None, (folder / "log").read_text()[-2000:]
                assert time.monotonic() < deadline, "containerd does not start"
                time.sleep(0.1)
            yield socket
        finally:
            running.terminate()


async def pulls(containerd: Path, folder: Path, registry: Registry, before: Registry | None) -> tuple[bool, str]:
    """Whether containerd pulls and unpacks the image as user u, by the registry's mirror if it has one; and what it says."""
    hosts = folder / registry.host
    hosts.mkdir()
    mirrors = f'[host."{before.url}"]\ncapabilities = ["pull", "resolve"]\n' if before else ""
    (hosts / "hosts.toml").write_text(f'server = "{registry.url}"\n{mirrors}')
    image = f"{registry.host}/team/app:1"
    user = ["--user", "u:p"] if registry.login and registry.login.users else []
    ctr = build.program("containerd", "ctr"), "--address", str(containerd), "--namespace", folder.name, "images"
    said = await ran(
        *ctr, "pull", "--skip-metadata", "--snapshotter", "native", "--hosts-dir", str(folder), *user, image
    )
    ready = await ran(*ctr, "check", "--quiet", "--snapshotter", "native", f"name=={image}")
    return image in ready.split(), said[-1000:]


async def ran(*command: str) -> str:
    """What a program says."""
    running = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await running.communicate()
    return said.decode(errors="replace")


@pytest.mark.parametrize("name", QUIRKS)
async def test_what_a_node_can_pull_we_read(containerd: Path, tmp_path: Path, connect: Connect, name: str) -> None:
    quirk = QUIRKS[name]
    async with Odd(quirk.login) as registry, Odd() as before:
        odd = before if quirk.of_the_mirror else registry
        for each in (registry, before):
            each.push("team/app:1", quirk.content)
        quirk.prepare(odd)
        node, said = await pulls(containerd, tmp_path, registry, before if quirk.of_the_mirror else None)
        odd.honest()
        quirk.prepare(odd)
        hosts = {registry.host: (Host(before.host), Host())} if quirk.of_the_mirror else {}
        config = docker_config(registry.host, "u", "p") if quirk.login and quirk.login.users else None
        client = connect(None, config, insecure=frozenset({registry.host, before.host}), hosts=hosts)
        found = await client.ask(f"{registry.host}/team/app:1")
    accounts = found.platforms[0].accounts if isinstance(found, Image) else found
    ours = getattr(accounts, "cause", "image")
    print(f"{name}: containerd {'pulls' if node else 'refuses'}, we say {ours}; {said if not node else ''}")
    assert (node, ours) == (quirk.node, quirk.ours), said
    assert not node or ours == "image"


@pytest.mark.parametrize("content", [NAMED, BOTH])
async def test_what_containerd_keeps_is_inspected(
    containerd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Content
) -> None:
    """By its own program, which leaves out what a node has not pulled of an index."""
    async with Registry() as registry:
        registry.push("team/app:1", content)
        assert (await pulls(containerd, tmp_path, registry, None))[0]
    monkeypatch.setenv("PATH", str(Path(build.program("containerd", "ctr")).parent), prepend=":")
    monkeypatch.setenv("CONTAINERD_ADDRESS", str(containerd))
    monkeypatch.setenv("CONTAINERD_NAMESPACE", tmp_path.name)
    found, _ = await local_store.read(Query(f"containerd:{registry.host}/team/app:1", accounts=True))
    assert isinstance(found, Image), found
    assert [(str(each.platform), each.accounts) for each in found.platforms] == [("linux/amd64", ACCOUNTS)]
