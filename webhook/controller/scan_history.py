"""The counts of former scans: since when they are what they are, and how they have changed.

One sample a day at most, and none where nothing has changed; the oldest goes when there are `SAMPLES_LIMIT`.
"""

import msgspec

from webhook.cluster.client import Cluster
from webhook.controller.kept_record import KeptRecord
from webhook.scan.document import Document, Sample, readable, sample

SAMPLES_LIMIT = 180


class History(msgspec.Struct, frozen=True):
    """The samples, oldest first."""

    samples: tuple[Sample, ...] = ()


def in_config_map(
    cluster: Cluster, namespace: str = "nonroot-system", name: str = "nonroot-webhook-history"
) -> KeptRecord[History]:
    """The history in the ConfigMap of that name."""
    return KeptRecord(cluster, namespace, name, key="history.json", empty=History(), what="how counts change")


def extended(history: History, document: Document) -> History:
    """The history with the counts of one more scan, unless that could not read everything."""
    new, former = sample(document), history.samples
    if not readable(document) or (former and msgspec.structs.replace(former[-1], at=new.at) == new):
        return history
    if former and former[-1].at.date() == new.at.date():
        former = former[:-1]
    return History((*former, new)[-SAMPLES_LIMIT:])
