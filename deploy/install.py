"""`make install REGISTRY=HOST[:PORT][/PATH]`: build our image, push it there, and install the chart into your cluster.

The image is built by Docker where its daemon answers, otherwise by buildah on a Debian that is made here (root, Debian or
Ubuntu). The cluster is the one of your kubeconfig, and its nodes pull from that registry. A registry on loopback, or with
`INSECURE=1`, is spoken to over plain HTTP, by the webhook as well.
"""

import http.client
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from ipaddress import ip_address

from deploy import release
from deploy.dev.images.build import BuildError, build_product, push
from deploy.local import apt
from deploy.local.errors import ClusterError
from webhook import __version__

NEEDED = {
    "helm": "https://helm.sh/docs/intro/install/",
    "kubectl": "https://kubernetes.io/docs/tasks/tools/",
}
NEXT = """\
Installed in namespace {namespace}. The built-in mode is Audit: nothing changes yet. Turn a namespace on:

    kubectl label namespace NAME nonroot.dev/mode=enforce
"""


def main(registry: str) -> int:
    """Build, push, install; the exit code."""
    host = registry.partition("/")[0]
    insecure = _is_loopback(host) or bool(os.environ.get("INSECURE"))
    try:
        _reach_cluster()
        image = _by_docker(registry) if _docker_answers() else _by_buildah(registry, insecure=insecure)
        print(f"installing the chart with {image.registry}/{image.repository}@{image.digest}")
        release.install(image, os.environ, {"insecure": [host]} if insecure else {})
    except (BuildError, ClusterError, release.ReleaseError) as error:
        print(error, file=sys.stderr)
        return 1
    print(NEXT.format(namespace=release.NAMESPACE))
    return 0


def _reach_cluster() -> None:
    """Ask the cluster for its version, before minutes are spent on an image that could not be installed."""
    for program, page in NEEDED.items():
        if shutil.which(program) is None:
            raise ClusterError(f"{program} is needed and not on the PATH: {page}")
    ask = ["kubectl", "get", "--raw", "/version", "--request-timeout=15s"]
    answer = subprocess.run(ask, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ClusterError(
            f"the cluster of your kubeconfig does not answer: {answer.stderr.strip()}\n"
            "KUBECONFIG=FILE or kubectl config use-context NAME chooses another; make cluster starts one here"
        )


def _by_docker(registry: str) -> release.Image:
    reference = f"{registry}/nonroot-webhook:{__version__}"
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    for command in (
        ["docker", "build", "--build-arg", f"VERSION={__version__}", "--tag", reference, str(release.ROOT)],
        ["docker", "push", reference],
    ):
        if subprocess.call(command, env=environment):
            raise BuildError(f"{' '.join(command[:2])} failed, see above")
    inspect = ["docker", "image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', reference]
    digests = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.split()
    return release.Image.parse(next(each for each in digests if each.startswith(f"{registry}/nonroot-webhook@")))


def _by_buildah(registry: str, *, insecure: bool) -> release.Image:
    _reach_registry(f"{'http' if insecure else 'https'}://{registry.partition('/')[0]}/v2/")
    apt.install("buildah", "mmdebstrap", "skopeo")
    print("building the image (minutes, once)", flush=True)
    image = build_product(f"localhost/nonroot-webhook:{__version__}", version=__version__)
    return release.Image.parse(push(image.reference, registry, insecure).pinned)


def _reach_registry(url: str) -> None:
    """Any answer will do before the build: whether we are let in, and whom to trust, the push finds out by its own settings."""
    try:
        urllib.request.urlopen(url, timeout=15).close()
    except (urllib.error.HTTPError, http.client.HTTPException):
        return
    except OSError as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):
            hint = "; INSECURE=1 asks by http://" if url.startswith("https:") else ""
            raise ClusterError(f"no registry answers at {url}: {reason}{hint}") from error


def _docker_answers() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.call(["docker", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def _is_loopback(host: str) -> bool:
    name = host.removesuffix("]").rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost"


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("say where the image is pushed to: make install REGISTRY=registry.example.com/team")
    sys.exit(main(sys.argv[1]))
