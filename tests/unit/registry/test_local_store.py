"""Images in the stores of engines on this machine: a made-up Engine API on a socket, and a made-up `ctr`."""

import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from deploy.dev.oci import Content, image, index
from tests.unit.registry.samples import ACCOUNTS, BASE, NAMED
from webhook.image.source import Image, Query, Unknown
from webhook.registry import local_store

ARM = image(BASE, user="app", architecture="arm64")


def archive(files: dict[str, bytes]) -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def exported(content: Content, *missing: str) -> bytes:
    """As `ctr images export` and, with its manifest.json, `docker save` of today write it."""
    every = (content.manifest, *content.children, *content.blobs)
    files = {f"blobs/{each.digest.replace(':', '/')}": each.data for each in every if each.digest not in missing}
    files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [content.manifest.descriptor()]}).encode()
    config, *layers = (f"blobs/{each.digest.replace(':', '/')}" for each in content.blobs)
    saved = {"Config": config, "RepoTags": ["team/app:1"], "Layers": layers}
    files["manifest.json"] = json.dumps([saved]).encode()
    return archive(files)


@pytest.fixture
async def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """An engine with one image; what it was asked."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        if "team/app:1" in request.raw_path:
            return web.Response(body=exported(NAMED))
        return web.json_response({"message": "no such image"}, status=500 if "broken" in request.raw_path else 404)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "docker.sock")).start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    yield asked
    await runner.cleanup()


async def test_an_image_of_docker_or_podman(engine: list[str]) -> None:
    """Is read whole, by the name that people call it."""
    found, cost = await local_store.read(Query("docker-daemon:team/app:1"))
    assert isinstance(found, Image), found
    assert found.platforms[0].accounts == ACCOUNTS
    assert engine == ["/images/docker.io/team/app:1/get"]
    assert cost.bytes_read


@pytest.mark.parametrize(
    ("name", "cause", "says"),
    [
        ("team/other:1", "notFound", "pull it first"),
        ("broken", "unreachable", "answered 500"),
        ("UPPER", "invalid", "lower case"),
    ],
)
async def test_an_image_that_an_engine_does_not_give(engine: list[str], name: str, cause: str, says: str) -> None:
    """Says why."""
    found, _ = await local_store.read(Query(f"docker-daemon:{name}"))
    assert isinstance(found, Unknown)
    assert (found.cause, says in found.detail) == (cause, True)


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:2375", "unix:///nowhere/docker.sock"])
async def test_no_engine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """Says what to set."""
    monkeypatch.setenv("DOCKER_HOST", host)
    found, _ = await local_store.read(Query("docker-daemon:team/app:1"))
    assert isinstance(found, Unknown)
    assert "DOCKER_HOST" in found.detail


@pytest.mark.parametrize("content", [NAMED, index(NAMED, ARM)])
async def test_an_image_of_containerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Content) -> None:
    """Of which only the node's own platform is there."""
    (tmp_path / "export.tar").write_bytes(exported(content, ARM.digest))
    program = tmp_path / "ctr"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\ncat {tmp_path}/export.tar\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found, _ = await local_store.read(Query("containerd:team/app:1"))
    assert isinstance(found, Image), found
    assert [str(each.platform) for each in found.platforms] == ["linux/amd64"]
    assert found.platforms[0].accounts == ACCOUNTS
    assert (tmp_path / "asked").read_text() == "images export - docker.io/team/app:1\n"


@pytest.mark.parametrize(
    ("script", "cause"),
    [("echo 'image \"x\": not found' >&2; exit 1", "notFound"), ("exit 1", "unreachable"), ("echo x", "invalid")],
)
async def test_an_image_that_containerd_does_not_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, cause: str
) -> None:
    """Is not told as another failure."""
    program = tmp_path / "ctr"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found, _ = await local_store.read(Query("containerd:team/app:1"))
    assert isinstance(found, Unknown)
    assert found.cause == cause


async def test_no_containerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found, _ = await local_store.read(Query("containerd:team/app:1"))
    assert isinstance(found, Unknown)
    assert "ctr" in found.detail
