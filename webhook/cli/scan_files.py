"""Documents of `nonroot scan -o json` in files, of one cluster each -> one document about all of them."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from webhook.errors import InvalidSetting
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
        with path.open("rb") as file:
            body = file.read(LIMIT + 1)
    except OSError as error:
        raise InvalidSetting(f"cannot read {path}: {error.strerror}; give a file of nonroot scan -o json") from None
    if len(body) > LIMIT:
        raise InvalidSetting(f"{path} is larger than {LIMIT >> 20} MiB, which no scan is")
    try:
        document = msgspec.json.decode(body, type=Document)
    except (ValueError, RecursionError) as error:
        raise InvalidSetting(f"{path} is no output of nonroot scan -o json: {error}") from None
    if any(each.cluster for each in document.workloads):
        raise InvalidSetting(f"{path} is about several clusters already: give the scans that it was made of")
    return document
