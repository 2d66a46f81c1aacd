"""The programs of a kind cluster: those of deploy/local, and what it lacks, built or unpacked once into the same cache."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local import apt, build
from deploy.local.build import Tool

Say = Callable[[str], None]

HERE = Path(__file__).parent


def _docker(folder: Path) -> None:
    """Debian's Docker: installed, it would start at each boot and open the machine's network to its containers."""
    apt.unpack(folder, "docker.io", "containerd")


DOCKER = Tool("docker", "packaged", _docker)
_VERSION = "v0.33.0"
KIND = Tool("kind", _VERSION, build.installed(["sigs.k8s.io/kind"], _VERSION, {}))
COREDNS = build.of_module(HERE / "tools" / "coredns", "github.com/coredns/coredns")


@dataclass(frozen=True)
class Kubernetes:
    """The programs of one version of Kubernetes."""

    cluster: Tool
    kubeadm: Tool

    @classmethod
    def asked(cls) -> "Kubernetes":
        """Those of the version that the environment asks for."""
        minor = build.asked("KUBERNETES", build.KUBERNETES)
        return cls(build.kubernetes(minor), build.kubernetes(minor, "kubeadm", "kubeadm"))


def ensure(*tools: Tool, say: Say = lambda _: None) -> None:
    """Build those that the cache lacks."""
    build.ensure_tools(tools, say)


def folders() -> Iterator[Path]:
    """The folders of the commands that reach the cluster; first our runc, which Docker would otherwise take from the machine."""
    yield HERE / "bin"
    yield from (DOCKER.folder / "usr" / name for name in ("bin", "sbin"))
    yield from (tool.folder for tool in (KIND, build.tools()["helm"], build.tools()["kubernetes"]))
