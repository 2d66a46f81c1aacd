"""The Pod says a group and no user.

Why: the Pod's own security context is also that of its sandbox. The container runtime interface forbids a group without a user,
so the sandbox is never made ("user group … is specified without user"), and no container of the Pod ever starts.
Fails: `runAsGroup` in `spec.securityContext` without `runAsUser` beside it.
Passes: both there, or `runAsGroup` in the containers only.
Fix: set `spec.securityContext.runAsUser` beside it, or move `runAsGroup` into the containers' security contexts.
Dockerfile: none.
Source: kubernetes/cri-api pkg/apis/runtime/v1/api.proto (LinuxSandboxSecurityContext); containerd/containerd
internal/cri/server/podsandbox/sandbox_run_linux.go
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding
from webhook.evaluation.subject import Subject

NAME: Final = "group-without-user"


def check(subject: Subject) -> Finding | None:
    """One finding a Pod, for the container that the Pod-level pass has chosen."""
    pod = subject.workload.context
    if NAME not in subject.pod_rules or subject.os != "linux":
        return None
    if pod.run_as_group is None or pod.run_as_user is not None:
        return None
    path = subject.workload.path + ".securityContext"
    return finding(
        subject,
        NAME,
        "Pod has a group without a user",
        f"and all others never start: {path}.runAsGroup {pod.run_as_group} without runAsUser beside it "
        "makes the runtime refuse the Pod's sandbox",
        f"set {path}.runAsUser too, or move runAsGroup into the containers' security contexts",
    )
