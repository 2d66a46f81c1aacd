"""The NonRootPolicy `default`: the built-in policy as an object, so that its counts are seen where no other policy applies.

It has the lowest priority and the built-in policy's spec, and so decides nothing. It is created where there is none of that
name, and never changed after that: whoever edits it has a policy like any other.
"""

import logging

from webhook.cluster.client import MANAGED_BY, Cluster
from webhook.cluster.errors import Absent, Conflict, Denied
from webhook.policy.types import API_VERSION

NAME = "default"
PRIORITY = -(2**31)

log = logging.getLogger(__name__)


async def create(api: Cluster) -> None:
    """Create it; without our CRDs nothing happens. Raises `ClusterError`."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "NonRootPolicy",
        "metadata": {"name": NAME, "labels": MANAGED_BY},
        "spec": {"mode": "Audit", "priority": PRIORITY},
    }
    try:
        await api.call("POST", f"/apis/{API_VERSION}/nonrootpolicies", f"NonRootPolicy {NAME}", body)
    except Absent:
        return
    except (Conflict, Denied) as error:  # somebody else was first, or an admission policy is against it
        log.info("the policy %s is not created: %s", NAME, error)
