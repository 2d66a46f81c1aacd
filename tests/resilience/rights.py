"""What the release has asked of the API server, by the API server's own audit log, which forgets: it is read again and again."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.release import NAMESPACE

OURS = f"system:serviceaccount:{NAMESPACE}:"
LOG = os.environ.get("NONROOT_AUDIT_LOG", "")
FORBIDDEN = 403

Right = tuple[str, str, str]  # API group, resource, verb

USED: set[Right] = set()
REFUSED: set[Right] = set()
_READ: dict[int, int] = {}  # bytes of a file of the log, by its inode: it is renamed when it is full


def note() -> None:
    """Add what the log has now."""
    for entry in entries(_READ):
        about = entry["objectRef"]
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        refused = entry.get("responseStatus", {}).get("code") == FORBIDDEN
        (REFUSED if refused else USED).add((about.get("apiGroup", ""), resource, entry["verb"]))


def entries(read: dict[int, int]) -> Iterator[dict[str, Any]]:
    """What the release asked for, of the log's end that was not `read` yet."""
    for file in sorted(Path(LOG).parent.glob("audit*.log")) if LOG else ():
        with file.open("rb") as log:
            inode = os.fstat(log.fileno()).st_ino
            log.seek(read.get(inode, 0))
            data = log.read()
            whole = data[: data.rfind(b"\n") + 1]
            read[inode] = read.get(inode, 0) + len(whole)
        for line in whole.splitlines():
            if OURS.encode() in line:
                entry = json.loads(line)
                if entry["user"]["username"].startswith(OURS) and entry.get("objectRef", {}).get("resource"):
                    yield entry
