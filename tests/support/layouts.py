"""Layouts on disk: what `skopeo copy … oci:` and `docker save` write."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deploy.dev.oci import Content, Layer, tar


def oci_files(named: Mapping[str, Content]) -> dict[str, bytes]:
    """The files of an OCI layout with these images; the name "" is none."""
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    entries = []
    for name, content in named.items():
        for blob in (content.manifest, *content.children, *content.blobs):
            files[f"blobs/{blob.digest.replace(':', '/')}"] = blob.data
        annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
        entries.append(content.manifest.descriptor(**annotations))
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    return files


def docker_files(
    config: Mapping[str, Any], layers: Sequence[tuple[str, bytes]], tags: Sequence[str] | None
) -> dict[str, bytes]:
    """The files of a docker archive with one image."""
    entry = {"Config": "abc.json", "RepoTags": tags, "Layers": [name for name, _ in layers]}
    return {"abc.json": json.dumps(config).encode(), "manifest.json": json.dumps([entry]).encode(), **dict(layers)}


def folder(path: Path, files: Mapping[str, bytes]) -> Path:
    """The files in a folder."""
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def archive(path: Path, files: Mapping[str, bytes], prefix: str = "") -> Path:
    """The files in a tar archive."""
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def diff_ids(*layers: Layer) -> list[str]:
    """As a config lists them."""
    return [each.diff_id for each in layers]


__all__ = ["archive", "diff_ids", "docker_files", "folder", "oci_files", "tar"]
