"""What users do with a release: verify it by the documented commands, start its image, install its chart."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from deploy import release
from deploy.dev.images.build import BuildError, default_cache, in_image
from deploy.local.cluster import Cluster

from . import registry, signing
from .job import Release
from .workflow import ROOT

PAGE = ROOT / "docs" / "how-to" / "verify.md"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec: {containers: [{name: a, image: nginx, securityContext: {runAsUser: 0}}]}
"""
PROGRAMS = {
    "machine": ("python", "-I", "-c", "import platform; print(platform.machine())"),
    "version": ("nonroot", "--version"),
    "check": ("sh", "-c", f"printf %s '{POD}' | nonroot check --no-images --exit-zero -"),
}
SECRET = "release"  # noqa: S105  # its name


def documented(program: str) -> Iterator[str]:
    """The lines of the page that run a program."""
    for line in PAGE.read_text().splitlines():
        if line.startswith(f"    {program} "):
            yield line.strip()


def verify(made: Release) -> Iterator[tuple[str, str]]:
    """Each documented line of cosign, and what it printed; a key takes the place of the workflow's identity."""
    for line in documented("cosign"):
        yield line, made.call("bash", "-euc", _with_variables(made, line))


def _with_variables(made: Release, line: str) -> str:
    signer = " ".join(signing.verify_options(made.keys))
    return f"image={made.image} chart={made.chart} signer=({signer})\n{line}"


def start(made: Release, architecture: str) -> Mapping[str, str]:
    """What each of `PROGRAMS` printed in a container of the image."""
    image = made.images[architecture]
    printed = {}
    for name, command in PROGRAMS.items():
        done = in_image(default_cache(), image.reference, *command)
        if done.returncode:
            raise BuildError(f"{image.reference}: {' '.join(command)} ended with {done.returncode}: {done.stderr}")
        printed[name] = done.stdout.strip()
    return printed


def install(made: Release, cluster: Cluster) -> Mapping[str, Any]:
    """Install by the documented line, from a mirror that needs a log-in; one of the Pods, once all are ready.

    The mirror is the same registry by its address: nodes know nothing of its name.
    """
    made.registry.known_to(cluster.registry_hosts)
    environment = cluster.environment()
    account = (f"--docker-server={made.registry.address}", f"--docker-username={registry.USER}")
    made.call("kubectl", "create", "namespace", release.NAMESPACE, **environment)
    try:
        secret = ("create", "secret", "docker-registry", SECRET, *account, f"--docker-password={registry.PASSWORD}")
        made.call("kubectl", "--namespace", release.NAMESPACE, *secret, **environment)
        (line,) = documented("helm")
        line += f" --wait --set global.imageRegistry={made.registry.address} --set imagePullSecrets[0]={SECRET}"
        made.call("bash", "-euc", _with_variables(made, line), **environment)
        listed = ("get", "pods", "--output", "json", f"--namespace={release.NAMESPACE}")
        pod: Mapping[str, Any] = json.loads(made.call("kubectl", *listed, **environment))["items"][0]
    finally:
        release.uninstall({**made.runner.environment, **environment})
    return pod
