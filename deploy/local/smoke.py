"""Is this a real cluster? The facts that the end-to-end tests rest on, each asked once.

No webhook is involved: when this fails, the cluster is broken, not our program.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import images
from .build import program
from .cluster import Cluster
from .commands import run
from .errors import ClusterError
from .layout import KUBERNETES_SERVICE

NAMESPACE = f"nonroot-smoke-{os.getpid()}"  # its predecessor may still be going

SERVE = """\
mkdir /tmp/web
echo hello >/tmp/web/index.html
echo serving
exec httpd -f -p 8080 -h /tmp/web
"""


@dataclass(frozen=True)
class _Kubectl:
    cluster: Cluster

    def __call__(self, *words: str, stdin: str = "") -> str:
        credentials = f"--kubeconfig={self.cluster.kubeconfig}"
        command = program("kubernetes", "kubectl")
        return run(command, credentials, f"--namespace={NAMESPACE}", *words, stdin=stdin)

    def create(self, *documents: Mapping[str, Any]) -> None:
        stream = "\n---\n".join(json.dumps(document) for document in documents)
        self("create", "-f", "-", stdin=stream)

    def container(self, pod: str) -> dict[str, Any]:
        """The status of the Pod's one container; empty until there is one."""
        status = json.loads(self("get", "pod", pod, "-o", "json"))["status"]
        found: dict[str, Any] = next(iter(status.get("containerStatuses", [])), {})
        return found


def check(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Run every check, or raise at the first that fails."""
    kubectl = _Kubectl(cluster)
    by_number = images.busybox(cluster.registry, "number", "1500")
    by_name = images.busybox(cluster.registry, "name", "app")
    kubectl("create", "namespace", NAMESPACE)
    try:
        kubectl.create(
            _pod("web", by_number, SERVE),
            _pod("client", by_number, "sleep 1000"),
            _pod("named", by_name, "sleep 1000"),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
            },
        )
        _identity(kubectl, say)
        _refusal(kubectl, say)
        _logs_and_exec(kubectl, say)
        _service(kubectl, say)
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
        kubectl("delete", "pod", "--all", "--grace-period=0", "--force")


def _identity(kubectl: _Kubectl, say: Callable[[str], None]) -> None:
    _until("the Pod runs", lambda: "running" in kubectl.container("web").get("state", {}))
    user = kubectl.container("web")["user"]["linux"]
    if user != {"uid": 1500, "gid": 1600, "supplementalGroups": [1600, 1700]}:
        raise ClusterError(f"the kubelet reports an unexpected identity: {user}")
    say(f"a Pod runs, and the kubelet reports who as: {user}")


def _refusal(kubectl: _Kubectl, say: Callable[[str], None]) -> None:
    def waiting() -> dict[str, str]:
        found: dict[str, str] = kubectl.container("named").get("state", {}).get("waiting", {})
        return found

    _until(
        "the kubelet refuses",
        lambda: waiting().get("reason") == "CreateContainerConfigError",
    )
    message = waiting()["message"]
    if "image has non-numeric user (app), cannot verify user is non-root" not in message:
        raise ClusterError(f"the kubelet refuses with another sentence: {message}")
    say(f"a user name under runAsNonRoot is refused: {message}")


def _logs_and_exec(kubectl: _Kubectl, say: Callable[[str], None]) -> None:
    said, asked = kubectl("logs", "web"), kubectl("exec", "web", "--", "id")
    if said != "serving\n" or "uid=1500" not in asked:
        raise ClusterError("kubectl logs or exec gives the wrong answer")
    say("kubectl logs and exec work")


def _service(kubectl: _Kubectl, say: Callable[[str], None]) -> None:
    service = json.loads(kubectl("get", "service", "web", "-o", "json"))
    url = f"http://{service['spec']['clusterIP']}/"
    _until("the client runs", lambda: "running" in kubectl.container("client").get("state", {}))
    for pod in ("client", "web"):
        _until(f"the Service answers the Pod {pod}", partial(_answers, kubectl, pod, url))
    say(f"the Service at {url} answers a Pod, and the Pod that is behind it")
    kubectl("exec", "client", "--", "sh", "-c", f"echo | nc {KUBERNETES_SERVICE} 443")
    say(f"a Pod reaches the API server at {KUBERNETES_SERVICE}")


def _answers(kubectl: _Kubectl, pod: str, url: str) -> bool:
    return kubectl("exec", pod, "--", "wget", "-q", "-O", "-", url) == "hello\n"


def _pod(name: str, image: str, script: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "securityContext": {"runAsNonRoot": True},
            "containers": [{"name": "main", "image": image, "command": ["sh", "-c", script]}],
        },
    }


def _until(what: str, true: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except ClusterError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.2)
