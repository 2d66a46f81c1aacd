"""What would reading layers by their tables of contents save? Real images, converted by the formats' own tools.

    python -m tests.bench.chunked

Every image is read three ways: as the client reads it, streamed from the top layer to the one that decides; and by
ranges, as an eStargz or zstd:chunked image, where a perfect reader takes the table of contents of each layer on the way
and then the two account files, in one request where they lie together. The first is measured at the client, the others
are counted on the converted blobs. Needs buildah, and Go for the eStargz library.

Source: containerd/stargz-snapshotter docs/estargz.md; containers/storage pkg/chunked/internal/compression.go.
"""

import asyncio
import gzip
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from deploy.dev.images import build
from deploy.dev.oci import Blob, Content
from deploy.dev.registry import Registry
from tests.support.oracle import built
from webhook.image.source import Image, Query
from webhook.registry.client import RegistryClient
from webhook.registry.layers.paths import clean
from webhook.registry.settings import RegistrySettings
from webhook.registry.transport.messages import Cost

SHAPES = ("a-useradd-uid", "k-supplementary", "c-adduser-busybox")
WANTED = ("etc/passwd", "etc/group")
TOGETHER = 64 * 1024  # bytes between two files that are cheaper to read than to ask again
DOCUMENTS = 3  # requests that every way needs: HEAD, manifest, config
FOOTER = 51  # bytes at an eStargz blob's end


class Layout(msgspec.Struct, frozen=True):
    """An image in an OCI layout."""

    folder: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """The one manifest that index.json has."""
        (entry,) = json.loads((self.folder / "index.json").read_text())["manifests"]
        found: dict[str, Any] = json.loads(self.blob(entry["digest"]))
        return found

    def blob(self, digest: str) -> bytes:
        """A blob's bytes."""
        return (self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()

    def content(self) -> Content:
        """As the in-memory registry takes it."""
        manifest = self.manifest
        parts = (manifest["config"], *manifest["layers"])
        raw = json.dumps(manifest).encode()
        blobs = tuple(Blob(self.blob(part["digest"]), part["mediaType"]) for part in parts)
        return Content(Blob(raw, "application/vnd.oci.image.manifest.v1+json"), blobs)


class Ranges:
    """A blob that is read by ranges, each of them a request."""

    def __init__(self, data: bytes, spent: Cost) -> None:
        self.size = len(data)
        self._data = data
        self._spent = spent

    def read(self, start: int, end: int) -> bytes:
        """One range request."""
        self._spent.requests += 1
        self._spent.bytes_read += end - start
        return self._data[start:end]

    def last(self, size: int) -> bytes:
        """The same for the end of the blob."""
        return self.read(self.size - size, self.size)


Table = dict[str, tuple[int, int]]
"""Where in the blob the wanted files are, compressed."""


def main() -> None:
    """Print a table."""
    print("| image | MB | streamed: requests, MB | eStargz: requests, MB | zstd:chunked: requests, MB |")
    print("|---|---|---|---|---|")
    images = {name: each.reference for name, each in build.build_all(only=SHAPES).items()}
    images["nonroot-webhook"] = build.build_product().reference
    for name, reference in images.items():
        with tempfile.TemporaryDirectory() as folder:
            plain = exported(reference, Path(folder) / "gzip", "gzip")
            chunked = exported(reference, Path(folder) / "chunked", "zstd:chunked")
            streamed = asyncio.run(_streamed(plain))
            star = Cost(requests=DOCUMENTS)
            _ranged(_stargz(plain, Path(folder), star), star)
            zstd = Cost(requests=DOCUMENTS)
            _ranged(_zstd(chunked, zstd), zstd)
        columns = (f"{each.requests}, {each.bytes_read / 1e6:.2f}" for each in (streamed, star, zstd))
        print(f"| {name} | {streamed.bytes_image / 1e6:.1f} | {' | '.join(columns)} |")


def exported(reference: str, folder: Path, compression: str) -> Layout:
    """An image of the tests' own storage as an OCI layout whose layers are compressed so."""
    cache = build.default_cache()
    command = [*build._buildah_command(cache), "push", "--quiet", "--format", "oci"]
    command += ["--compression-format", compression, reference, f"oci:{folder}:latest"]
    subprocess.run(command, check=True, capture_output=True)
    return Layout(folder)


async def _streamed(layout: Layout) -> Cost:
    """What the client asks and reads for the accounts of an image that it has never seen."""
    cost = Cost()
    async with Registry() as registry:
        registry.push("app:1", layout.content())
        client = RegistryClient(RegistrySettings(insecure=frozenset({registry.host})))
        try:
            found = await client.find(Query(f"{registry.host}/app:1", accounts=True, budget=60.0), cost)
        finally:
            await client.aclose()
    assert isinstance(found, Image), found
    return cost


def _ranged(layers: Iterator[tuple[Ranges, Callable[[], Table]]], cost: Cost) -> None:
    """From the top layer down, until both files are found."""
    missing = set(WANTED)
    for blob, read_table in layers:
        found = {name: where for name, where in read_table().items() if name in missing}
        places = sorted(found.values())
        while places:
            start, end = places.pop(0)
            while places and places[0][0] - end < TOGETHER:
                end = places.pop(0)[1]
            blob.read(start, end)
        missing -= found.keys()
        if not missing:
            return


def _stargz(layout: Layout, folder: Path, cost: Cost) -> Iterator[tuple[Ranges, Callable[[], Table]]]:
    program = built(Path(__file__).with_name("stargz"))
    for layer in reversed(layout.manifest["layers"]):
        (folder / "tar").write_bytes(gzip.decompress(layout.blob(layer["digest"])))
        subprocess.run([program, folder / "tar", folder / "star"], check=True)
        blob = Ranges((folder / "star").read_bytes(), cost)
        yield blob, partial(_stargz_table, blob)


def _stargz_table(blob: Ranges) -> Table:
    """The footer says where the table begins; the table is a tar of one JSON file, and names where members begin."""
    start = int(blob.last(FOOTER)[16:32], 16)
    raw = gzip.decompress(blob.read(start, blob.size - FOOTER))
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        file = tar.extractfile("stargz.index.json")
        assert file is not None
        entries = json.load(file)["entries"]
    begins = sorted({each["offset"] for each in entries if each.get("offset")} | {start})
    return {
        clean(each["name"]): (each["offset"], begins[begins.index(each["offset"]) + 1])
        for each in entries
        if clean(each["name"]) in WANTED and each.get("offset")
    }


def _zstd(layout: Layout, cost: Cost) -> Iterator[tuple[Ranges, Callable[[], Table]]]:
    for layer in reversed(layout.manifest["layers"]):
        blob, place = Ranges(layout.blob(layer["digest"]), cost), layer["annotations"]
        yield blob, partial(_zstd_table, blob, place)


def _zstd_table(blob: Ranges, annotations: dict[str, str]) -> Table:
    """The layer's annotations say where the table is: one request."""
    (place,) = (value for key, value in annotations.items() if key.endswith(".zstd-chunked.manifest-position"))
    start, size = map(int, place.split(":")[:2])
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(blob.read(start, start + size))
    return {
        clean(each["name"]): (each["offset"], each["endOffset"])
        for each in json.loads(raw)["entries"]
        if clean(each["name"]) in WANTED and each.get("endOffset")
    }


if __name__ == "__main__":
    main()
