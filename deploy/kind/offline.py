"""The offline setting of up.sh and cluster.sh: images that are made here in place of Docker Hub's, and our Docker to hold them."""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.dev.images.build import build_product, busybox_base, default_cache
from deploy.local import apt, build, commands
from deploy.local.errors import ClusterError

from . import engine, node, programs
from .programs import Kubernetes, Say

SCRIPTS = Path(__file__).parent


def kubernetes() -> Kubernetes:
    """The version that is asked for; an image cannot be."""
    if image := os.environ.get("KIND_IMAGE"):
        default = next(iter(build.KUBERNETES))
        raise ClusterError(
            f"KIND_IMAGE={image}: Docker Hub is out of reach, KUBERNETES={default} makes an image of that version"
        )
    return Kubernetes.asked()


def cluster(version: Kubernetes, say: Say) -> dict[str, str]:
    """The environment of cluster.sh, once our Docker runs."""
    apt.install()
    build.ensure(["helm"], say)
    programs.ensure(programs.KIND, say=say)
    return {"KUBERNETES": "", "KIND_IMAGE": node.node(version, say), "REGISTRY_IMAGE": node.registry(say)}


def release(version: Kubernetes, say: Say) -> dict[str, str]:
    """The environment of up.sh."""
    environment = cluster(version, say)
    say("building our image, and taking it into Docker")
    product = node.take(build_product().reference, "nonroot-webhook:local")
    return environment | {"IMAGE": product, "DEMO_BASE": node.take(busybox_base(default_cache()), "busybox:local")}


def access(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of tests: what cluster.sh prints, and of each node containerd's socket and folder of registries.

    A node's files are found by its process, which has this number where our Docker is. Pods are made reachable from there.
    """
    words, full = command([SCRIPTS / "cluster.sh"], environment)
    done = subprocess.run(words, env=full, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ClusterError("cluster.sh failed, see above")
    exports = dict(word.split("=", 1) for word in shlex.split(done.stdout)[1:])
    nodes = engine.docker("ps", "--quiet", "--filter", "label=io.x-k8s.kind.cluster").split()
    shown = "{{.State.Pid}} {{.NetworkSettings.Networks.kind.IPAddress}}"
    found = engine.docker("inspect", "--format", shown, *nodes).split()
    pids, addresses = found[::2], found[1::2]
    for address in addresses:
        pods = f"10.244.{address.rpartition('.')[2]}.0/24"  # as the entrypoint of a node numbers them
        subprocess.run([*engine.inside(), "ip", "route", "replace", pods, "via", address], check=True)

    def of_each(path: str) -> str:
        return os.pathsep.join(f"/proc/{pid}/root/{path}" for pid in pids)

    return exports | {
        "CONTAINERD_ADDRESS": of_each("run/containerd/containerd.sock"),
        "NONROOT_REGISTRY_HOSTS": of_each("etc/containerd/certs.d"),
        "NONROOT_OFFLINE": "1",
    }


def command(words: Sequence[str | Path], more: Mapping[str, str] = {}) -> tuple[list[str], dict[str, str]]:
    """A command and its environment, to be run where our Docker and its clusters are."""
    return [*engine.inside(), *map(str, words)], {**os.environ, **engine.environment(), **more}


def call(words: Sequence[str | Path], more: Mapping[str, str] = {}) -> int:
    """Run it; the exit code."""
    inside, environment = command(words, more)
    return commands.call(inside, environment)
