"""Annotations of Pods that are read or written here."""

from collections.abc import Mapping
from typing import Any

import msgspec

ANNOTATION = "nonroot.dev/injected"


OPENSHIFT_SCC = "openshift.io/scc"


MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


class RecordEntry(
    msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """An entry of the record as it is written: the fields added to a container, or to the Pod, and those left out for its image."""

    container: str = ""
    pod: bool = False
    fields: tuple[str, ...] = ()
    digest: str = ""
    left_out: tuple[str, ...] = ()


def injections(annotations: Mapping[str, str] | None) -> dict[str, list[dict[str, Any]]]:
    """The entries of a Pod's record by container: what earlier passes have injected into it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in injection_record(annotations):
        if isinstance(name := each.get("container"), str):
            found.setdefault(name, []).append(each)
    return found


def injection_record(annotations: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """The record of what was injected, of the annotation `ANNOTATION`, an entry for each container; another text is no record."""
    text = annotations.get(ANNOTATION) if annotations else None
    if not text:
        return []
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except (msgspec.DecodeError, RecursionError):
        return []


def own_record(text: str) -> tuple[RecordEntry, ...] | None:
    """The record in the annotation `ANNOTATION` if it is just as it is written here; None of any other text."""
    if not text.isascii():
        return None
    try:
        record = msgspec.json.decode(text, type=tuple[RecordEntry, ...])
    except (msgspec.DecodeError, RecursionError):
        return None
    return record if msgspec.json.encode(record).decode() == text else None
