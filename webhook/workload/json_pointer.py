"""JSON pointers (RFC 6901): `/spec/containers/0` names a part of an object."""

from functools import lru_cache
from typing import Any


def escaped(key: str) -> str:
    """A key as it is written in a pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def keys(pointer: str) -> list[str]:
    """The keys of a pointer, from the whole object on."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def value(data: Any, pointer: str) -> Any:
    """The part of plain data that a pointer names; None where there is none."""
    for key in keys(pointer):
        if isinstance(data, list) and key.isdecimal():
            data = data[int(key)] if int(key) < len(data) else None
        else:
            data = data.get(key) if isinstance(data, dict) else None
    return data


@lru_cache(maxsize=64)  # nearly all are where the Pod specs of Kubernetes' own kinds stand
def field_path(pointer: str) -> str:
    """A pointer as people write a field: `/spec/replicatedJobs/0/template` is `spec.replicatedJobs[0].template`."""
    return "".join(f"[{step}]" if step.isdecimal() else f".{step}" for step in keys(pointer)).removeprefix(".")
