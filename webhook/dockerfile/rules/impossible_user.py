"""USER is a text that no account can have as its name.

Why: BuildKit writes whatever stands behind USER into the image, comments and spaces included; only the runtime finds
out, when the container starts: "unable to find user". A trailing comment is no comment in a Dockerfile.
Fails: `USER 1000 # the app`, `USER app staff`.
Passes: `USER 1000`, `USER app:staff`.
Fix: write one number, and a group behind a colon; put comments on a line of their own.
Dockerfile: `USER 10001:10001`.
Source: moby/buildkit frontend/dockerfile/parser/line_parsers.go (parseString); shadow-maint/shadow
man/useradd.8.xml (CAVEATS)
"""

from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.analysis.uid import is_account_name
from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.text import quoted

NAME: Final = "impossible-user"


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """A name with spaces, quotes or shell marks."""
    if not evaluation.name or is_account_name(evaluation.name):
        return
    yield DockerfileFinding(
        rule=NAME,
        severity="error",
        line=evaluation.line,
        column=evaluation.column,
        reason="user is no account name",
        detail=f"USER {quoted(evaluation.user or '')} is taken as it stands, and no account is called that",
        fix="write a number, such as: USER 10001; a comment needs a line of its own",
    )
