"""Annotations of Pods that are read or written here."""

from collections.abc import Mapping
from typing import Any

import msgspec

ANNOTATION = "nonroot.dev/injected"


OPENSHIFT_SCC = "openshift.io/scc"


MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


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
