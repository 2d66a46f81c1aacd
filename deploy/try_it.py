"""`make cluster` and `make cluster-down`: a real cluster on this machine, with the webhook installed and enforcing.

With Docker and kind present it is kind's (deploy/kind); otherwise the one of deploy/local, which needs neither.
"""

import os
import shutil
import subprocess
import sys

from deploy import release
from deploy.dev.images.build import build_all, build_product, push, push_all
from deploy.kind import engine
from deploy.local import build, cluster

NEXT = """
The cluster is up, and the namespace "demo" enforces. To use it:

    eval "$({python} -m deploy.local env)"

Try:

    kubectl -n demo run named --image={named} --overrides='{{"spec":{{"securityContext":{{"runAsNonRoot":true}}}}}}'
    kubectl -n demo get pod named -o jsonpath='{{.spec.containers[0].securityContext}}{{"\\n"}}'
    kubectl -n demo run root --image={root}     # refused, and says why
    kubectl -n demo create deployment root --image={root}     # created, with the same words as a warning

`make cluster-down` ends it.
"""


def main(verb: str) -> int:
    """Bring it up or end it; the exit code."""
    if _has_kind():
        with engine.alone():
            return subprocess.call(["deploy/kind/up.sh" if verb == "up" else "deploy/kind/down.sh"])
    if verb == "down":
        cluster.down(say=print)
        return 0
    build.ensure(say=print)
    running = cluster.up(say=print)
    environment = {**os.environ, **running.environment()}
    print("building and pushing images")
    product = push(build_product().reference, running.registry)
    shapes = push_all(build_all().values(), running.registry)
    print("installing the chart")
    release.install(release.Image.parse(product.pinned), environment, {"insecure": [running.registry]})
    for command in (
        ["kubectl", "create", "namespace", "demo"],
        ["kubectl", "label", "--overwrite", "namespace", "demo", "nonroot.dev/mode=enforce"],
    ):
        subprocess.run(command, env=environment, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    named, root = shapes["a-useradd-uid"].reference, shapes["g-root"].reference
    print(NEXT.format(python=sys.executable, named=named, root=root))
    return 0


def _has_kind() -> bool:
    if not (shutil.which("kind") and shutil.which("docker")):
        return False
    return subprocess.call(["docker", "info"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
