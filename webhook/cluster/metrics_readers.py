"""Access to the metrics: for whoever shows a token whose user RBAC lets get the path /metrics.

As controller-runtime asks (kubernetes-sigs/controller-runtime pkg/metrics/filters/filters.go).
"""

import logging

from webhook.cluster.access_reviews import ClusterAccessReviews
from webhook.cluster.client import Cluster
from webhook.cluster.users import AccessReviews, CachedAccessReviews, bearer_token
from webhook.errors import NonrootError
from webhook.text import printable

PATH = "/metrics"
AT_ONCE, WAITING = 4, 100  # requests to the API server: strangers may send any number of tokens

log = logging.getLogger(__name__)


class MetricsReaders:
    """Says whom the metrics are not shown, for seconds from memory."""

    def __init__(self, reviews: AccessReviews) -> None:
        self._reviews = CachedAccessReviews(reviews, at_once=AT_ONCE, waiting=WAITING)

    @classmethod
    def of(cls, cluster: Cluster) -> "MetricsReaders":
        """Those whom a cluster knows."""
        return cls(ClusterAccessReviews(cluster))

    async def refusal(self, authorization: str) -> tuple[int, str] | None:
        """The status and the words for whoever sends this header `Authorization`; None for a reader."""
        token = bearer_token(authorization)
        try:
            user = await self._reviews.user_of(token) if token else None
            if user is None:
                return 401, "show a token of the cluster: Authorization: Bearer TOKEN\n"
            if await self._reviews.may_get(user, PATH):
                return None
        except NonrootError as error:
            log.warning("a reader of the metrics is not known: %s", error)
            return 503, "the API server could not be asked who may read the metrics, which the log explains\n"
        return 403, (
            f"{printable(user.username, 253)} may not get {PATH}: bind them to the ClusterRole nonroot-webhook-metrics, "
            "or name them in the chart value metrics.subjects\n"
        )
