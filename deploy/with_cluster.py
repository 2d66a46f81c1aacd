"""`python -m deploy.with_cluster COMMAND…`: run a command with a cluster around it, and end what was started for it.

A KUBECONFIG in the environment is used as it is, together with NONROOT_REGISTRY, the HOST:PORT of a plain HTTP registry from
which its nodes and Pods can pull. A cluster of deploy/local that runs already is used and left running. KUBERNETES=1.35 and
CONTAINERD=1.7 ask for versions of the cluster that is started (deploy/local/build.py lists them).
"""

import os
import sys

from deploy.local import build, cluster
from deploy.local.commands import call, interrupt_on_termination
from deploy.local.errors import ClusterError


def main(command: list[str]) -> int:
    """The command's exit code."""
    if os.environ.get("KUBECONFIG"):
        return call(command)
    build.ensure(say=print)
    with cluster.borrowed(say=print) as running:
        return call(command, {**os.environ, **running.environment()})


if __name__ == "__main__":
    interrupt_on_termination()
    try:
        sys.exit(main(sys.argv[1:]))
    except ClusterError as error:
        sys.exit(f"deploy.with_cluster: {error}")
