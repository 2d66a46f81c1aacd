"""Images in the store of a container engine on this machine: exported as an archive, and read as one.

    docker-daemon:NAME      Docker, or Podman where it listens: the Engine API at DOCKER_HOST, else at the usual sockets
    containerd:NAME         containerd, by its own program `ctr`, in the namespace of CONTAINERD_NAMESPACE (`k8s.io` on a node)

Sources: moby/moby api/swagger.yaml (ImageGet); containers/podman docs/source/markdown/podman-system-service.1.md (the
socket); containerd/containerd cmd/ctr/commands/images/export.go.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from webhook.errors import InvalidReference, InvalidSetting
from webhook.http.library import aiohttp
from webhook.image import reference as references
from webhook.image.source import Cause, Image, Query, Unknown
from webhook.registry import layout
from webhook.registry.transport.messages import Cost, RegistryError

TRANSPORTS = ("docker-daemon:", "containerd:")
_PIECE = 1 << 20
_SECONDS = 600.0


async def read(query: Query) -> tuple[Image | Unknown, Cost]:
    """The image of a reference that begins with one of `TRANSPORTS`, and what reading it cost."""
    transport, _, name = query.reference.partition(":")
    try:
        image = references.parse(name)
    except InvalidReference as error:
        return Unknown("invalid", str(error)), Cost()
    with tempfile.NamedTemporaryFile(prefix="nonroot-", suffix=".tar") as file:
        try:
            async with asyncio.timeout(_SECONDS):
                if transport == "containerd":
                    await _export(str(image), file)
                    archive = "oci-archive"
                else:
                    await _save(str(image), file)
                    archive = "docker-archive"
        except RegistryError as error:
            return Unknown(error.cause, str(error)), Cost()
        except TimeoutError:
            return Unknown("unreachable", f"{image} was not exported within {_SECONDS:g} s"), Cost()
        file.flush()
        try:
            return await layout.read(msgspec.structs.replace(query, reference=f"{archive}:{file.name}"))
        except InvalidSetting:
            return Unknown("invalid", f"what was exported of {image} is no archive of an image"), Cost()


def _sockets() -> Iterator[Path]:
    """Where an engine may listen."""
    given = os.environ.get("DOCKER_HOST", "")
    if given:
        if not given.startswith("unix://"):
            raise RegistryError("unreachable", "DOCKER_HOST names no socket on this machine; write unix:///PATH")
        yield Path(given.removeprefix("unix://"))
        return
    yield Path("/var/run/docker.sock")
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "podman/podman.sock"
    yield Path("/run/podman/podman.sock")


async def _save(image: str, file: IO[bytes]) -> None:
    """Write to a file what `docker save` would."""
    socket = next((each for each in _sockets() if each.is_socket()), None)
    if socket is None:
        raise RegistryError("unreachable", "neither Docker nor Podman listens here; start it, or set DOCKER_HOST")
    url = f"http://localhost/images/{image}/get"
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), auto_decompress=False) as session,
            session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer,
        ):
            if answer.status == 404:
                raise RegistryError("notFound", f"the engine at {socket} has no image {image}; pull it first")
            if answer.status != 200:
                raise RegistryError("unreachable", f"the engine at {socket} answered {answer.status} for {image}")
            async for piece in answer.content.iter_chunked(_PIECE):
                file.write(piece)
    except (aiohttp.ClientError, OSError) as error:
        raise RegistryError("unreachable", f"the engine at {socket} does not answer: {error}") from None


async def _export(image: str, file: IO[bytes]) -> None:
    """Write to a file what `ctr images export` prints."""
    try:
        program = await asyncio.create_subprocess_exec(
            *("ctr", "images", "export", "-", image),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file.fileno(),
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise RegistryError("unreachable", f"containerd's program ctr cannot be run: {error.strerror}") from None
    try:
        _, said = await program.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            program.kill()
        raise
    if program.returncode:
        words = said.decode("utf-8", "replace").strip()[-300:]
        cause: Cause = "notFound" if "not found" in words else "unreachable"
        raise RegistryError(cause, f"ctr does not export {image}: {words!a}")
