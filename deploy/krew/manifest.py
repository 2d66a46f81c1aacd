"""dist/nonroot.yaml: the plugin's manifest for krew, and beside it the archives that it points to.

    python -m deploy.krew.manifest v0.1.0 https://github.com/OWNER/nonroot-webhook

It takes the zipapps that are in dist/. Source: kubernetes-sigs/krew pkg/index/types.go, pkg/index/validation/validate.go.
"""

import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.krew.zipapp import DIST, ROOT, TAGS

PROGRAM = "kubectl-nonroot"
_DESCRIPTION = """\
Says who each container of a Pod, workload or manifest runs as and who says so, what the kubelet says to it, which
NonRootPolicy applies to it, and which lines to write: kubectl nonroot why pod/NAME. Scans whole clusters and checks
manifests, Dockerfiles and images. It only reads, and needs nothing installed in the cluster.
"""


def manifest(version: str, homepage: str, dist: Path = DIST) -> dict[str, Any]:
    """The manifest of a version, for every system that there is a zipapp for; their archives are written."""
    platforms = list(_platforms(version, homepage, dist))
    if not platforms:
        raise SystemExit(f"there is no zipapp in {dist}: make zipapp PLATFORMS='{' '.join(TAGS)}'")
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "nonroot"},
        "spec": {
            "version": version,
            "homepage": homepage,
            "shortDescription": "Tell who containers run as, and why",
            "description": _DESCRIPTION,
            "caveats": "It needs Python 3.11 or later on the PATH.\n",
            "platforms": platforms,
        },
    }


def _platforms(version: str, homepage: str, dist: Path) -> Iterator[dict[str, Any]]:
    for name in TAGS:
        zipapp = dist / f"nonroot-{name}.pyz"
        if not zipapp.exists():
            continue
        archive = dist / f"{PROGRAM}-{name}.tar.gz"
        archive.write_bytes(_archive(zipapp))
        system, _, architecture = name.partition("-")
        yield {
            "selector": {"matchLabels": {"os": system, "arch": architecture}},
            "uri": f"{homepage}/releases/download/{version}/{archive.name}",
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "bin": PROGRAM,
        }


def _archive(zipapp: Path) -> bytes:
    """The program and its licence, the same bytes whenever and by whomever they are packed."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for path, name, mode in ((zipapp, PROGRAM, 0o755), (ROOT / "LICENSE", "LICENSE", 0o644)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = path.stat().st_size, mode
            with path.open("rb") as content:
                tar.addfile(member, content)
    return packed.getvalue()


if __name__ == "__main__":
    _, its_version, its_homepage = sys.argv
    (DIST / "nonroot.yaml").write_text(yaml.safe_dump(manifest(its_version, its_homepage), sort_keys=False))
