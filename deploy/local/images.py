"""The two images that a cluster cannot do without, made of one static program.

A Pod is held open by a "pause" container, and whoever tries things out wants a shell. Both
are busybox. They are written as OCI layouts by hand: three small files and a tar.
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

from .commands import run

BUSYBOX = Path("/bin/busybox")
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1500:1600:app:/home/app:/bin/sh\n"  # noqa: S105  # a file, not a secret
GROUP = "root:x:0:\napp:x:1600:\nextra:x:1700:app\n"


def pause(registry: str) -> str:
    """Push the image that holds Pods open, and return its name."""
    return push(f"{registry}/nonroot/pause:1", ["/bin/busybox", "sleep", "2147483647"])


def busybox(registry: str, tag: str = "1", user: str = "") -> str:
    """Push busybox with a `USER`, and return its name; it knows `app` as 1500:1600."""
    return push(f"{registry}/nonroot/busybox:{tag}", ["/bin/sh"], user)


def push(name: str, command: list[str], user: str = "") -> str:
    """Push an image of busybox that runs `command` as `user`."""
    with tempfile.TemporaryDirectory() as folder:
        write_layout(Path(folder), command, user)
        copy = ("skopeo", "copy", "--quiet", "--dest-tls-verify=false")
        run(*copy, f"oci:{folder}", f"docker://{name}")
    return name


def write_layout(folder: Path, command: list[str], user: str) -> None:
    """Write the image as an OCI layout: layer, config, manifest, index."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def add(kind: str, content: bytes) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    layer = add("layer.v1.tar", _layer())
    config = {
        "architecture": {"aarch64": "arm64"}.get(os.uname().machine, "amd64"),
        "os": "linux",
        "config": {
            "Cmd": command,
            "Env": ["PATH=/bin"],
            **({"User": user} if user else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": add("config.v1+json", json.dumps(config).encode()),
        "layers": [layer],
    }
    index = {
        "schemaVersion": 2,
        "manifests": [add("manifest.v1+json", json.dumps(manifest).encode())],
    }
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _layer() -> bytes:
    """busybox, a link for each of its commands, and the accounts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(name: str, content: bytes, mode: int = 0o644) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))

        add("bin/busybox", BUSYBOX.read_bytes(), 0o755)
        add("etc/passwd", PASSWD.encode())
        add("etc/group", GROUP.encode())
        for command in sorted(set(run(BUSYBOX, "--list").split()) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{command}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        temporary = tarfile.TarInfo("tmp")
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(temporary)
    return buffer.getvalue()
