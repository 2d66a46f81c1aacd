"""The commits at which upgrades begin, each with its own chart and image. `python -m tests.e2e.earlier` builds the images.

A build asks the package index, which is out of reach in the network of deploy/kind.
"""

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from deploy.dev.images.build import ROOT, Built, build_product

# Before there were reports, statuses and stored identities, and with all of them.
VERSIONS = ("c1a420f", "1da11cf")


def source(revision: str, folder: Path) -> Path | None:
    """The repository as it was, unpacked in `folder`; None where its history is not here."""
    done = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def build(revision: str, source: Path) -> Built:
    """The image of that source."""
    return build_product(f"localhost/nonroot-webhook:{revision}", source=source)


def _build_all() -> None:
    for revision in VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            if found := source(revision, Path(folder)):
                build(revision, found)


if __name__ == "__main__":
    _build_all()
