"""Statistics of look-ups since the start, as plain numbers for metrics: requests, bytes, cache hits."""

from collections import Counter
from typing import Literal

import msgspec

from webhook.image.source import Cause
from webhook.registry.transport.messages import Cost

HostClass = Literal["hub", "cloud", "public", "own"]
Outcome = Literal["ok", "abandoned"] | Cause
Result = Literal["hit", "miss"]
Level = Literal["answer", "tag", "identity", "document", "layer"]

# Registries by the ends of their names. `cloud` hosts private registries of their customers, which need credentials.
_CLASSES: tuple[tuple[str, HostClass], ...] = (
    *((end, "hub") for end in ("docker.io", "docker.com")),
    *((end, "public") for end in ("ghcr.io", "quay.io", "registry.k8s.io", "mcr.microsoft.com", "public.ecr.aws")),
    *((end, "public") for end in ("registry.gitlab.com", "registry.access.redhat.com", "nvcr.io", "cgr.dev")),
    *((end, "cloud") for end in ("amazonaws.com", "amazonaws.com.cn", "gcr.io", "pkg.dev", "azurecr.io", "icr.io")),
    *((end, "cloud") for end in ("aliyuncs.com", "myhuaweicloud.com", "ocir.io", "registry.digitalocean.com")),
)


def host_class(authority: str) -> HostClass:
    """A registry's kind, for a label that must stay bounded: `own` is whatever is not known to be somebody else's."""
    host = authority.partition(":")[0].lower()
    return next((kind for end, kind in _CLASSES if host == end or host.endswith(f".{end}")), "own")


def _costs() -> dict[HostClass, Cost]:
    return {"hub": Cost(), "cloud": Cost(), "public": Cost(), "own": Cost()}


class RegistryStats(msgspec.Struct):
    """`total` is the sum of `costs`, which are by class of registry; requests are by class and what came of them.

    An `abandoned` request is one whose look-up ran out of time. A registry's demand for a token is an `unauthorized` one.
    `answered` are the look-ups that the first cache answered, a bare number because most end there. `faults`
    are errors of our own, which nothing that a registry sends should cause.
    """

    total: Cost = msgspec.field(default_factory=Cost)
    costs: dict[HostClass, Cost] = msgspec.field(default_factory=_costs)
    requests: Counter[tuple[HostClass, Outcome]] = msgspec.field(default_factory=Counter)
    answered: int = 0
    faults: int = 0
    _others: Counter[tuple[Level, Result]] = msgspec.field(default_factory=Counter)

    def observe(self, level: Level, *, hit: bool) -> None:
        """Count a look-up in one of the caches."""
        self._others[level, "hit" if hit else "miss"] += 1

    @property
    def known(self) -> dict[tuple[Level, Result], int]:
        """The look-ups in each cache, by whether they were hits."""
        return {("answer", "hit"): self.answered, **self._others}
