"""The image that the Dockerfile builds runs as ContainerAdministrator of Windows.

Why: with `runAsNonRoot: true` the kubelet refuses that name, in any case of letters, as root; without, the process may
do everything inside the container.
Fails: `USER ContainerAdministrator` in the final stage.
Passes: `USER ContainerUser`; no USER.
Fix: end the final stage with ContainerUser, and do what needs the administrator before it.
Dockerfile: `USER ContainerUser` as the last instruction before CMD.
Source: kubernetes pkg/kubelet/kuberuntime/security_context_windows.go
"""

from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.text import quoted

NAME: Final = "administrator-user"


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """The one user of Windows that the kubelet takes for root."""
    if (evaluation.user or "").lower() != "containeradministrator":
        return
    yield DockerfileFinding(
        rule=NAME,
        severity="error",
        line=evaluation.line,
        column=evaluation.column,
        reason="image runs as ContainerAdministrator",
        detail=f"{evaluation.final.title}: USER {quoted(evaluation.user or '')} is Windows' root",
        fix="end the final stage with: USER ContainerUser",
    )
