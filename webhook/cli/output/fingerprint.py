"""The fingerprint of a finding, the same after lines have moved and images have changed."""

import hashlib
from collections import Counter

from webhook.check.report import Finding


def fingerprint(finding: Finding, seen: Counter[str]) -> str:
    """A hash of what the finding is about, not of where it stands; `seen` counts the equal ones so far."""
    about = finding.object
    parts = (finding.rule, finding.path, about and (about.kind, about.namespace, about.name), finding.container)
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    seen[key] += 1
    return f"{key}:{seen[key]}"
