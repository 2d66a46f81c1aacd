"""USER is a number that the runtimes do not agree on.

Why: a negative or huge number has run as root before (CVE-2024-40635, CVE-2026-46680): it is cut to 32 bits, or looked
up as a name. The kubelet refuses it where it can.
Fails: `USER -1`, `USER 4294967296`, `USER 99999999999999999999`.
Passes: `USER 1` to `USER 2147483647`.
Fix: write a number from 1 to 2147483647.
Dockerfile: `USER 10001`.
Source: k8s.io/apimachinery pkg/util/validation/validation.go (IsValidUserID); containerd/containerd
pkg/oci/spec_opts.go (WithUser)
"""

from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.image.config import UID_MAX, parse_user
from webhook.text import quoted

NAME: Final = "user-out-of-range"


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """A number outside what Kubernetes takes."""
    if not evaluation.user:
        return
    user = parse_user(evaluation.user)
    if not user.looks_numeric or (user.uid is not None and 0 <= user.uid <= UID_MAX):
        return
    yield DockerfileFinding(
        rule=NAME,
        severity="error",
        line=evaluation.line,
        column=evaluation.column,
        reason="user is out of range",
        detail=f"USER {quoted(evaluation.user)} is no number from 1 to {UID_MAX}",
        fix="write a number in that range, such as: USER 10001",
    )
