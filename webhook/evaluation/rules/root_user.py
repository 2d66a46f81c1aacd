"""The Pod itself asks for uid 0.

Why: `runAsUser: 0` makes the process root whatever the image says; with `runAsNonRoot: true` the kubelet refuses to
start it ("container's runAsUser breaks non-root policy").
Fails: a container whose effective `runAsUser` is 0, its own or the Pod's.
Passes: any other number, or none with an image that is not root's.
Fix: set `securityContext.runAsUser` of the container to a uid above 0, or remove it where the image has a numeric USER.
Dockerfile: none; the Pod overrides it.
Source: kubernetes pkg/kubelet/kuberuntime/security_context_others.go
"""

from typing import Final

from webhook.evaluation import advice
from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject

NAME: Final = "root-user"


def check(subject: Subject) -> Finding | None:
    """The effective runAsUser is 0."""
    if subject.os != "linux" or subject.effective.run_as_user != 0:
        return None
    source = "its own" if subject.effective.user_source == "container" else "the Pod's"
    return finding(
        subject,
        NAME,
        "runs as root",
        f"{image_user(subject)} runs as uid 0 by {source} securityContext.runAsUser",
        advice.non_root(subject, of_image=False),
        field="runAsUser",
    )
