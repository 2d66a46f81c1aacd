"""The image that the Dockerfile builds runs as root.

Why: with `runAsNonRoot: true` the kubelet refuses it, only after scheduling and pulling; without, the process is uid 0.
Fails: a final stage whose USER is `root`, `0`, a name with uid 0, or, on `scratch` or a base known to be root, none.
Passes: a final stage that ends with `USER 10001`.
Fix: create a user with a fixed number and end the final stage with that number.
Dockerfile: `RUN useradd --uid 10001 app`, then `USER 10001` as the last instruction before CMD.
Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go (dispatchUser); kubernetes
pkg/kubelet/kuberuntime/helpers.go (getImageUser)
"""

from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.text import quoted

NAME: Final = "root-final-stage"


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """The USER is known, and it is root's."""
    if not evaluation.root:
        return
    subject = f"USER {quoted(evaluation.user)} is root" if evaluation.user else "no USER is set, which is root"
    yield DockerfileFinding(
        rule=NAME,
        severity="error",
        line=evaluation.line,
        column=evaluation.column,
        reason="image runs as root",
        detail=f"{evaluation.final.title}: {subject}",
        fix="create a user with a fixed number and end the final stage with it, such as: USER 10001",
    )
