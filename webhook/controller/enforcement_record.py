"""A record of what was enforced, so that a controller that starts can tell what is enforced less."""

from datetime import datetime

import msgspec

from webhook.cluster.client import Cluster
from webhook.controller.kept_record import KeptRecord

NAMESPACES_LIMIT = 20_000  # of which 780 KiB of a ConfigMap's 1 MiB are needed; Kubernetes is made for half as many


class Enforced(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The namespaces that one policy enforced, by uid, and the fields by which root could run there."""

    namespaces: tuple[str, ...]
    allows_root: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The whole record: what each policy enforced, and when some namespace was enforced less for the last time."""

    policies: dict[str, Enforced] = {}
    weakened_at: datetime | None = None


def in_config_map(
    cluster: Cluster, namespace: str = "nonroot-system", name: str = "nonroot-webhook-enforced"
) -> KeptRecord[Record]:
    """The record in the ConfigMap of that name."""
    return KeptRecord(cluster, namespace, name, key="enforced.json", empty=Record(), what="what is enforced")
