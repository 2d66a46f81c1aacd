"""`python -m tests.versions.api_server COMMAND…`: run a command with an API server and its controllers around it, on loopback."""

import os
import sys

from deploy.local import apt, build
from deploy.local.commands import call, interrupt_on_termination
from deploy.local.layout import LOOPBACK
from tests.support import control_plane

NEEDED = ("kubernetes", "etcd", "helm", "helm-unittest", "kubeconform")

if __name__ == "__main__":
    interrupt_on_termination()
    build.ensure(NEEDED, print)
    apt.install()
    with control_plane.alone(LOOPBACK, controllers=True) as layout:
        path = os.pathsep.join([str(build.tools()["kubernetes"].folder), os.environ.get("PATH", os.defpath)])
        environment = os.environ | {"KUBECONFIG": str(layout.kubeconfig), "PATH": path}
        sys.exit(call(sys.argv[1:], environment))
