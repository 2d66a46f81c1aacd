"""The merging of files of `nonroot scan -o json`, of one cluster each, into one document."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from webhook.errors import InvalidSetting
from webhook.registry.files import read
from webhook.scan.document import Document, merged

LIMIT = 256 * 1024 * 1024  # bytes of one: a cluster of 50,000 workloads


def load(paths: Sequence[Path]) -> Document:
    """The one document. `InvalidSetting` names the file that cannot be used, and why."""
    found: dict[str, Document] = {}
    for path in paths:
        document = _read(path)
        if document.cluster in found:
            raise InvalidSetting(
                f"{path}: there is a scan of {document.cluster!a} already, and clusters are told apart by their names; "
                "give each a context of its own, or the chart's clusterName"
            )
        found[document.cluster] = document
    return merged(tuple(found.values()))


def _read(path: Path) -> Document:
    try:
        document = msgspec.json.decode(read(path, LIMIT, "the output of nonroot scan -o json"), type=Document)
    except (ValueError, RecursionError) as error:
        raise InvalidSetting(f"{path} is no output of nonroot scan -o json: {error}") from None
    if any(each.cluster for each in document.workloads):
        raise InvalidSetting(f"{path} is about several clusters already: give the scans that it was made of")
    return document
