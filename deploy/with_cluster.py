"""`python -m deploy.with_cluster COMMAND…`: run a command with a cluster around it, and end what was started for it.

A KUBECONFIG in the environment is used as it is, together with NONROOT_REGISTRY, the HOST:PORT of a plain HTTP registry from
which its nodes and Pods can pull. A cluster of deploy/local that runs already is used and left running.
"""

import os
import subprocess
import sys

from deploy.local import build, cluster


def main(command: list[str]) -> int:
    """The command's exit code."""
    if os.environ.get("KUBECONFIG"):
        return subprocess.call(command)
    build.ensure(say=print)
    with cluster.borrowed(say=print) as running:
        return subprocess.call(command, env={**os.environ, **running.environment()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
