"""The images of a kind cluster where Docker Hub is out of reach: a node with its control plane inside, and a registry.

Docker builds them from node/Dockerfile; each is named by a hash of what it was made from, and made once.
"""

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from deploy.dev.images import build as images
from deploy.local import build, commands
from deploy.local.errors import ClusterError

from . import engine, programs
from .programs import Kubernetes, Say

SOURCES = Path(__file__).with_name("node")
PLUGINS = Path("/usr/lib/cni")
# systemd and what a node's entrypoint, kind, the kubelet and kube-proxy call.
PACKAGES = (
    *("ca-certificates", "conntrack", "dbus", "ethtool", "hostname", "iproute2", "iptables", "kmod", "libseccomp2"),
    *("mount", "nftables", "procps", "runc", "systemd", "systemd-sysv", "util-linux"),
)
BASE = "nonroot/kind-base"
NODE = "nonroot/kind-node"
REGISTRY = "nonroot/registry"
HASH = 12  # digits
PAUSE = "localhost/pause:1"  # as in the node's configuration of containerd


def node(kubernetes: Kubernetes, say: Say) -> str:
    """The name of the node image of a version, in our Docker, which runs."""
    shared = (build.tools()["etcd"], build.tools()["containerd"], programs.COREDNS)
    tools = (kubernetes.cluster, kubernetes.kubeadm, *shared)
    programs.ensure(*tools, say=say)
    name = f"{NODE}:{kubernetes.cluster.version}-{_hash([*(tool.folder.name for tool in tools), *_sources()])}"
    if not _known(name):
        say("building the node image (once)")
        base = _base()
        with tempfile.TemporaryDirectory(dir=engine.state()) as work:
            context = _context(Path(work), [file for tool in tools for file in tool.folder.iterdir()])
            _save(_control_plane(kubernetes, context, base), context / "images.tar")
            _build(context, "node", name, BASE=base, KUBERNETES=kubernetes.cluster.version)
        _remove_superseded(name)
    return name


def registry(say: Say) -> str:
    """The name of an image of Debian's registry."""
    name = f"{REGISTRY}:{_hash(_sources())}"
    if not _known(name):
        say("building the registry's image (once)")
        base = _base()
        with tempfile.TemporaryDirectory(dir=engine.state()) as work:
            program = shutil.which("docker-registry")
            _build(_context(Path(work), [Path(program or "")]), "registry", name, BASE=base)
        _remove_superseded(name)
    return name


def take(image: str, name: str) -> str:
    """Copy an image of the test images' storage into our Docker, where it gets this name; the name."""
    with tempfile.TemporaryDirectory(dir=engine.state()) as work:
        archive = Path(work) / "image.tar"
        images.export(image, f"docker-archive:{archive}:{name}")
        engine.docker("load", "--quiet", "--input", archive)
    return name


def _sources() -> list[str]:
    return [*PACKAGES, *images.contents(SOURCES)]


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:HASH]


def _known(name: str) -> bool:
    return bool(engine.docker("images", "--quiet", name))


def _base() -> str:
    """A Debian of PACKAGES: the name of its image."""
    name = f"{BASE}:{_hash(PACKAGES)}"
    if not _known(name):
        with tempfile.TemporaryDirectory(dir=engine.state()) as work:
            rootfs = Path(work) / "rootfs.tar"
            images.debian_rootfs(rootfs, variant="minbase", packages=PACKAGES)
            engine.docker("import", rootfs, name)
        _remove_superseded(name)
    return name


def _remove_superseded(name: str) -> None:
    """Remove those that differ from a new image in the hash alone, and those that have lost their name; containers keep theirs."""
    listed = engine.docker("images", "--format={{.Repository}}:{{.Tag}}", name.partition(":")[0]).split()
    for each in {each for each in listed if each.startswith(name[:-HASH])} - {name}:
        with contextlib.suppress(ClusterError):
            engine.docker("rmi", each)
    engine.docker("image", "prune", "--force")


def _context(folder: Path, files: Iterable[Path]) -> Path:
    """A folder with the Dockerfile and the files that it copies."""
    context = folder / "context"
    shutil.copytree(SOURCES, context)
    (context / "programs").mkdir()
    for file in (*files, Path("/bin/busybox")):
        shutil.copy2(file, context / "programs" / file.name)
    (context / "cni").mkdir()
    for name in ("bridge", "host-local", "loopback", "portmap"):
        shutil.copy2(PLUGINS / name, context / "cni" / name)
    return context


def _control_plane(kubernetes: Kubernetes, context: Path, base: str) -> list[str]:
    """Build what kubeadm of that version would pull, under the names that it asks for."""
    listed = commands.run(
        kubernetes.kubeadm.folder / "kubeadm", "config", "images", "list",
        f"--kubernetes-version={kubernetes.cluster.version}",
    ).split()  # fmt: skip
    wanted = {name.rpartition("/")[2].partition(":")[0]: name for name in listed} | {"pause": PAUSE}
    for program, name in wanted.items():
        target = program if program in {"coredns", "kube-proxy", "pause"} else "program"
        _build(context, target, name, BASE=base, PROGRAM=program)
    return list(wanted.values())


def _save(names: Iterable[str], archive: Path) -> None:
    engine.docker("save", "--output", archive, *names)


def _build(context: Path, target: str, name: str, **arguments: str) -> None:
    given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
    engine.docker("build", "--target", target, *given, "--tag", name, context, env={"DOCKER_BUILDKIT": "1"})
