"""The base image decides who the image runs as.

Why: without a USER of its own the image runs as its base does, which is root for nearly every base, and which the base
may change with its next tag. The same holds for a USER made of a variable that only the base's ENV could set.
Fails: `FROM python:3.12-slim` with no USER after it; `FROM mcr.microsoft.com/dotnet/aspnet:8.0` with `USER $APP_UID`.
Passes: a final stage that ends with `USER 10001`.
Fix: end the final stage with a number.
Dockerfile: `USER 10001` as the last instruction before CMD.
Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go (dispatchStages)
"""

from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.text import quoted

NAME: Final = "inherited-user"


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """The USER is not known without the base image."""
    if evaluation.user is not None:
        return
    base = quoted(evaluation.base or evaluation.chain[0].origin.arguments[0])
    if evaluation.user_step is None:
        detail = f"{evaluation.final.title} sets no USER and runs as its base image {base} does, mostly root"
    else:
        written = evaluation.user_step.instruction.arguments[0]
        detail = f"USER {quoted(written)} has a variable that only the ENV of the base image {base} could set"
    yield DockerfileFinding(
        rule=NAME,
        severity="error" if evaluation.user_step is None else "warning",
        line=evaluation.line,
        column=evaluation.column,
        reason="user is left to the base image",
        detail=detail,
        fix="end the final stage with a number, such as: USER 10001",
    )
