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


def note() -> None:
    """Add what the log has now."""
    for entry in _entries():
        about = entry.get("objectRef", {})
        if not (entry["user"]["username"].startswith(OURS) and about.get("resource")):
            continue
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        refused = entry.get("responseStatus", {}).get("code") == FORBIDDEN
        (REFUSED if refused else USED).add((about.get("apiGroup", ""), resource, entry["verb"]))


def _entries() -> Iterator[dict[str, Any]]:
    for file in Path(LOG).parent.glob("audit*.log") if LOG else ():
        for line in file.read_text(errors="replace").splitlines():
            if OURS in line and line.endswith("}"):
                yield json.loads(line)
