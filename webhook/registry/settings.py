"""The settings about registries, with the defaults that a replica runs with."""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

MANIFEST_LIMIT = 4 * 1048 * 1048  # containerd/containerd core/remotes/docker/resolver.go, MaxManifestSize
ACCOUNTS_FILE_LIMIT = 10 * 1024 * 1024  # containerd/containerd pkg/oci/spec_opts.go, openUserFile

_MIB = 1024 * 1024


class Limits(msgspec.Struct, frozen=True):
    """The limits on what one image may cost, in bytes, counts and seconds; beyond them the answer is Unknown("tooLarge")."""

    document_bytes: int = MANIFEST_LIMIT
    layers: int = 512
    platforms: int = 32
    layer_bytes: int = 4096 * _MIB
    tar_bytes: int = 32 * 1024 * _MIB
    tar_ratio: int = 250  # beyond the first tar_free_bytes: a file of zeros is not yet a bomb
    tar_free_bytes: int = 512 * _MIB
    entries: int = 2_000_000
    links: int = 250_000
    link_bytes: int = 48 * _MIB  # of memory for a layer's symbolic links
    zstd_window: int = 64 * _MIB
    zstd_usual_window: int = 8 * _MIB  # all that levels below the ultra ones ask for; one layer at a time may have more
    rereads: int = 8
    survey_bytes: int = 8192 * _MIB  # of all layers together, where each of them is read
    reading: float = 5.0  # seconds of work a minute on the layers of a namespace, which is then slowed down
    pull_secrets: int = 100  # of one Pod
    pull_secret_bytes: int = _MIB  # in all of them
    pull_secret_registries: int = 500  # that all of them name: each may be a glob, which takes long to compile


# For a command line, which has its machine to itself: all that containerd takes (klauspost/compress zstd/framedec.go).
WORKSTATION = Limits(zstd_window=512 * _MIB, reading=math.inf)


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds.

    `look_up` ends the work on one image, though its caller has long gone; `layer` that on one layer; `credentials` a
    program that hands out credentials.
    """

    names: float = 10.0  # resolving one
    connect: float = 5.0
    idle: float = 15.0
    document: float = 20.0
    look_up: float = 120.0
    layer: float = 300.0
    backoff: tuple[float, ...] = (0.3, 1.0)
    credentials: float = 20.0
    retry_after: float = 10.0  # a longer Retry-After is not waited for, but remembered


class Lives(msgspec.Struct, frozen=True):
    """Seconds for which an answer counts without asking the registry again.

    `tag` is also how long a credential's right to read a digest is taken for granted; `always` replaces it under
    `imagePullPolicy: Always`; `stale` is the most that an answer may age while its registry gives none.
    """

    tag: float = 300.0
    always: float = 10.0
    stale: float = 86_400.0
    refused: float = 15.0  # unauthorized, notFound
    unreachable: float = 5.0
    rate_limited: float = 30.0
    malformed: float = 60.0  # invalid, tooLarge
    breaker: float = 10.0


class CacheLimits(msgspec.Struct, frozen=True):
    """Bytes that each cache may hold, by a fair estimate."""

    answers: int = 32 * _MIB
    resolutions: int = 8 * _MIB
    documents: int = 32 * _MIB
    layers: int = 32 * _MIB
    surveys: int = 32 * _MIB


class Host(msgspec.Struct, frozen=True):
    """A host to ask for a registry's images: HOST or HOST:PORT, or nothing for the registry's own.

    `root` is the path of its API, `resolves` whether it may be asked what a tag stands for; digests it has in any case.
    """

    authority: str = ""
    root: str = "/v2"
    resolves: bool = True


class ClientCertificate(msgspec.Struct, frozen=True):
    """PEM files of a certificate to show and of its key; without `key` the one file has both."""

    certificate: Path
    key: Path | None = None


AUTHORITY = re.compile(r"(\[[0-9a-fA-F:]+\]|[a-zA-Z0-9.-]+)(:[0-9]{1,5})?\Z")
ANY_REGISTRY = "_default"  # containerd/containerd core/remotes/docker/config/hosts_unix.go, hostPaths


class RegistrySettings(msgspec.Struct, frozen=True):
    """The rules and limits of connections to registries.

    `insecure` lists HOST or HOST:PORT that are spoken to over plain HTTP, at whatever address; `allowed` those that
    may have a loopback, link-local or Service address over verified TLS; `denied_networks` are CIDRs beside the
    built-in ones, above all the cluster's Service range. `authorities` maps HOST or HOST:PORT to the PEM of the CA to
    trust there, beside the system's, and `authority` is one to trust everywhere; `client_certificates` to what is
    shown there. `hosts` maps a registry to those who are asked for its images, in turn, itself alone by default;
    `ANY_REGISTRY` stands for those that are not named. Hosts other than the registry's own get the operator's
    credentials for them and never a Pod's. `registries`, unless empty, are the only ones asked at all. `proxy` takes
    HTTPS_PROXY, HTTP_PROXY and NO_PROXY from the environment; a proxy resolves names itself, so the rules about
    addresses then hold for literal addresses only.

    `look_ups` are read at once, `queued` more may wait, and `layers` are transferred at once. A namespace has the share of them
    that is named after it, and always at least one: of layers `layers_at_most` in all.
    """

    insecure: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()
    registries: frozenset[str] = frozenset()
    denied_networks: tuple[str, ...] = ()
    authorities: Mapping[str, str] = msgspec.field(default_factory=dict)
    authority: str = ""
    client_certificates: Mapping[str, ClientCertificate] = msgspec.field(default_factory=dict)
    hosts: Mapping[str, tuple[Host, ...]] = msgspec.field(default_factory=dict)
    proxy: bool = False
    look_ups: int = 32
    look_ups_per_namespace: int = 8
    queued: int = 2000
    queued_per_namespace: int = 500
    layers: int = 4
    layers_per_namespace: int = 2
    layers_at_most: int = 6
    user_agent: str = "nonroot-webhook"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    lives: Lives = Lives()
    cache_limits: CacheLimits = CacheLimits()


def match_authority(authority: str, entries: frozenset[str] | Mapping[str, object]) -> str | None:
    """The entry, in lower case, that names `authority` (HOST or HOST:PORT): the same, or its host alone; else None."""
    authority = authority.lower()
    if authority in entries:
        return authority
    host = host_of(authority)
    return host if host in entries else None


def host_of(authority: str) -> str:
    """The host of HOST, HOST:PORT or [IPv6]:PORT, without the brackets' port."""
    if authority.startswith("["):
        return authority[: authority.find("]") + 1]
    return authority.partition(":")[0]
