"""Tiny images for cells: busybox, the account files, and a USER; pushed to a plain HTTP registry over its own API."""

import asyncio
import io
import platform
import tarfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from urllib.parse import urljoin

import aiohttp

from deploy.dev import oci
from tests.conformance.model import Files

BUSYBOX = Path("/bin/busybox")
REPOSITORY = "kubelet-matrix"
CONNECTIONS = 16
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@cache
def base() -> oci.Layer:
    """The layer that all share: one static program that can say who it is. Debian calls its package busybox-static."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        info = tarfile.TarInfo("bin/busybox")
        info.mode, info.size = 0o755, BUSYBOX.stat().st_size
        with BUSYBOX.open("rb") as program:
            files.addfile(info, program)
    return oci.raw_layer(archive.getvalue())


@cache
def accounts(files: Files, folder: str = "etc") -> tuple[oci.Layer, ...]:
    """The layer of the account files; none where there are none, so that the image has no /etc."""
    named = {f"{folder}/passwd": files.passwd, f"{folder}/group": files.group}
    entries = [oci.file(name, data) for name, data in named.items() if data is not None]
    return (oci.layer(oci.directory(folder), *entries),) if entries else ()


def content(user: str | None, files: Files) -> oci.Content:
    """The image with that `config.User` and these files."""
    return oci.image(base(), *accounts(files), user=user, architecture=ARCHITECTURE)


def linked(user: str | None, files: Files) -> oci.Content:
    """The same, but /etc has absolute links to the files, as images of NixOS do."""
    links = (oci.symlink(f"etc/{name}", f"/nix/{name}") for name in ("passwd", "group"))
    layers = (*accounts(files, "nix"), oci.layer(oci.directory("etc"), *links))
    return oci.image(base(), *layers, user=user, architecture=ARCHITECTURE)


async def push(registry: str, images: Iterable[oci.Content]) -> None:
    """Send the images that the registry does not have yet, and each of their blobs once."""
    images = list(images)
    gate = asyncio.Semaphore(CONNECTIONS)
    async with aiohttp.ClientSession(f"http://{registry}/v2/{REPOSITORY}/", raise_for_status=True) as session:

        async def has(path: str) -> bool:
            async with gate, session.head(path, raise_for_status=False) as answer:
                return answer.status == 200

        async def send_blob(blob: oci.Blob) -> None:
            async with gate, session.post("blobs/uploads/") as started:
                where = urljoin(str(started.url), started.headers["Location"])
            target = f"{where}{'&' if '?' in where else '?'}digest={blob.digest}"
            async with gate, session.put(target, data=blob.data):
                pass

        async def send_manifest(image: oci.Content) -> None:
            headers = {"Content-Type": image.manifest.media_type}
            async with gate, session.put(f"manifests/{image.digest}", data=image.manifest.data, headers=headers):
                pass

        there = await asyncio.gather(*(has(f"manifests/{image.digest}") for image in images))
        new = [image for image, known in zip(images, there, strict=True) if not known]
        blobs = {blob.digest: blob for image in new for blob in image.blobs}  # a shared one stands there once
        await asyncio.gather(*(send_blob(blob) for blob in blobs.values()))
        await asyncio.gather(*(send_manifest(image) for image in new))


def reference(registry: str, image: oci.Content) -> str:
    """What a Pod writes to run it."""
    return f"{registry}/{REPOSITORY}@{image.digest}"
