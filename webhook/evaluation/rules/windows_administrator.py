"""A Windows container runs as ContainerAdministrator.

Why: on a Windows node the kubelet takes that name, in any case of letters, for root; a numeric `runAsUser` means
nothing there.
Fails: `windowsOptions.runAsUserName: ContainerAdministrator`, or no such field and `USER ContainerAdministrator` in the
image.
Passes: any other name, `ContainerUser` above all; an image without USER.
Fix: set `securityContext.windowsOptions.runAsUserName` of the container to `ContainerUser`.
Dockerfile: end the last stage with `USER ContainerUser`.
Source: kubernetes pkg/kubelet/kuberuntime/security_context_windows.go
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.kubelet import is_administrator
from webhook.evaluation.subject import Subject

NAME: Final = "windows-administrator"


def check(subject: Subject) -> Finding | None:
    """The name that the kubelet regards as root, from the spec or else from the image."""
    if subject.os != "windows":
        return None
    if any(map(is_administrator, subject.windows_users)):
        return finding(
            subject,
            NAME,
            "runs as ContainerAdministrator",
            f"{image_user(subject)} runs as ContainerAdministrator, which is Windows' root",
            f"set {subject.field('windowsOptions.runAsUserName')}: ContainerUser, "
            "or end the Dockerfile with: USER ContainerUser",
            field="windowsOptions",
        )
    return None
