"""Which of an index's entries a node would run, by containerd's order of preference.

A node's CPU variant is not known from a Pod, so every entry that some variant of the architecture would choose is a
candidate. Sources: containerd/platforms compare.go (platformVector) and database.go; containerd/containerd
core/images/image.go (Manifest); opencontainers/image-spec image-index.md.
"""

from collections.abc import Iterable, Sequence

import msgspec

from webhook.image.config import Platform
from webhook.registry.manifest import Descriptor

_ARM = ("v8", "v7", "v6", "v5")


class Choice(msgspec.Struct, frozen=True):
    """The entries to look at. `undecided` ones name no platform: their configs do, and they come last."""

    chosen: tuple[Descriptor, ...]
    undecided: tuple[Descriptor, ...]


def choose(entries: Sequence[Descriptor], os: str, architectures: frozenset[str]) -> Choice:
    """The candidates for nodes of this `os` and these architectures (normalised names; empty: every one there is).

    Attestations (platform unknown/unknown) match nothing. Of several entries for one platform the first counts.
    """
    undecided = tuple(entry for entry in entries if entry.platform is None)
    named = [entry for entry in entries if entry.platform is not None and (entry.platform.os or os) == os]
    if not architectures:
        every = [entry for entry in named if entry.platform and entry.platform.architecture not in {"", "unknown"}]
        return Choice(_first_of_each(every), undecided)
    chosen: dict[Descriptor, None] = {}
    unmatched = False
    for architecture in sorted(architectures):
        best = _best(named, architecture)
        chosen |= dict.fromkeys(best)
        unmatched = unmatched or not best
    return Choice(tuple(chosen), undecided if unmatched else ())


def runs(platform: Platform, os: str, architectures: frozenset[str]) -> bool:
    """Whether some node of this `os` and these architectures would run an image of that platform."""
    if (platform.os or os) != os:
        return False
    return not architectures or any(
        (platform.architecture, platform.variant) in _vector(architecture, variant)
        for architecture in architectures
        for variant in {platform.variant, ""}
    )


def _best(entries: Sequence[Descriptor], architecture: str) -> tuple[Descriptor, ...]:
    """What nodes of this architecture would choose, whichever variants they are of among those that are offered."""
    first: dict[tuple[str, str], Descriptor] = {}
    for entry in entries:
        if entry.platform is not None:
            first.setdefault((entry.platform.architecture, entry.platform.variant), entry)
    variants = (
        _ARM
        if architecture == "arm"
        else ("", *(variant for name, variant in first if name == architecture and variant))
    )
    chosen: dict[Descriptor, None] = {}
    for variant in variants:
        match = next((first[key] for key in _vector(architecture, variant) if key in first), None)
        if match is not None:
            chosen[match] = None
    return tuple(chosen)


def _vector(architecture: str, variant: str) -> list[tuple[str, str]]:
    """What a node of that architecture and variant runs, the best first, as normalised (architecture, variant)."""
    if architecture == "amd64":
        level = int(variant[1:]) if variant[:1] == "v" and variant[1:].isdigit() and len(variant) == 2 else 1
        return [("amd64", f"v{each}") for each in range(level, 1, -1)] + [("amd64", ""), ("386", "")]
    if architecture == "arm64":
        own = [("arm64", variant)] if variant else []
        return [*own, ("arm64", ""), *(("arm", each) for each in _ARM)]
    if architecture == "arm":
        start = _ARM.index(variant) if variant in _ARM else 1
        return [("arm", each) for each in _ARM[start:]]
    own = [(architecture, variant)] if variant else []
    return [*own, (architecture, "")]


def _first_of_each(entries: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    found: dict[tuple[Platform | None, str], Descriptor] = {}
    for entry in entries:
        found.setdefault((entry.platform, entry.os_version), entry)
    return tuple(found.values())
