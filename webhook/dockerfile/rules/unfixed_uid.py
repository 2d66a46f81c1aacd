"""The account of USER is created without a number.

Why: `useradd app` and `adduser -D app` take the next free number, which differs from base image to base image and from
one build to the next. Files in volumes belong to the number, not to the name; a `runAsUser` in a manifest goes stale.
Fails: `RUN adduser --system app` with `USER app` in the same file.
Passes: `RUN adduser --system --uid 10001 app`.
Fix: give it a number above 1000 that the base image does not use, such as 10001.
Dockerfile: `RUN useradd --uid 10001 app`; `RUN adduser -D -u 10001 app` on Alpine.
Source: shadow-maint/shadow man/useradd.8.xml; mirror/busybox loginutils/adduser.c
"""

from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.text import quoted

NAME: Final = "unfixed-uid"


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """A step of the file creates the user, and leaves the number open."""
    evidence = evaluation.evidence
    if not evaluation.name or evidence.uid is not None or not evidence.line:
        return
    yield DockerfileFinding(
        rule=NAME,
        severity="warning",
        line=evidence.line,
        column=1,
        reason="account has no fixed number",
        detail=f"the account {quoted(evaluation.name)} of USER: {evidence.reason}",
        fix="give it a fixed number above 1000, such as --uid 10001 (adduser of Alpine: -u 10001)",
    )
