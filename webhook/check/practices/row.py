"""A row of the table, and what a row may look at beside the Dockerfile."""

from typing import Literal

import msgspec

IMAGE_LIMIT = 120_000_000  # bytes, compressed, as a registry has them

Status = Literal["Pass", "Fail", "Not applicable"]


class Row(msgspec.Struct, frozen=True):
    """One practice. `comment` is one short line; `place` is where: `line 3`, or a field such as `spec.replicas`."""

    practice: str
    status: Status
    comment: str
    place: str = ""


class BuildContext(msgspec.Struct, frozen=True):
    """The files and sizes beside a Dockerfile that rows look at.

    `looked` says whether the folder could be looked into at all; `dockerignore` is the text of .dockerignore, None
    where there is none. `image_bytes` is what pulling the built image transfers, None where it was not read; `base_bytes`
    that of its base, which it cannot be smaller than.
    """

    looked: bool = False
    dockerignore: str | None = None
    image_bytes: int | None = None
    base_bytes: int | None = None
    image_limit: int = IMAGE_LIMIT


def passed(practice: str, comment: str, place: str = "") -> Row:
    """The practice is kept."""
    return Row(practice, "Pass", comment, place)


def failed(practice: str, comment: str, place: str = "") -> Row:
    """The practice is not kept."""
    return Row(practice, "Fail", comment, place)


def not_applicable(practice: str, comment: str) -> Row:
    """The practice does not concern this file, or cannot be decided by it."""
    return Row(practice, "Not applicable", comment)
