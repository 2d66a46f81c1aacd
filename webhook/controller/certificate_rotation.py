"""The rotation of certificates, from creation to renewal, one write at a time.

A change of CA is four writes: (1) the CA Secret gets the new CA, and the old one's certificate under `previous.crt`; (2) both
go into the caBundle of the webhook configurations; (3) once every configuration shows the bundle, the TLS Secret gets a leaf
of the new CA; (4) once that leaf has been served for long enough, the old CA leaves the CA Secret, and with that the bundle.
So at any moment the API server trusts every leaf that a replica may be serving. (kubernetes/apiserver
pkg/util/webhook/client.go: a caBundle that changes makes a new client, and may hold several CAs.)

Nothing is remembered between two writes but what the objects say, and each write is guarded by the version that was read: a
controller that is killed anywhere is continued by the next one, and two of them do not harm each other.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import msgspec

from webhook.cluster.errors import ClusterError
from webhook.cluster.secrets import Secret
from webhook.controller.certificate_objects import ConfigurationKind, WebhookConfiguration
from webhook.server import certificates
from webhook.server.certificates import Pair, Unusable, Validity

SETTLE = timedelta(seconds=5)  # every API server of the cluster has seen a bundle that one of them shows for so long
OVERLAP = timedelta(minutes=10)  # every replica serves a leaf that was written so long ago: kubelets sync within two
MOST_PREVIOUS = 4  # CAs trusted besides the one in force
CERTIFICATE, KEY, PREVIOUS, CA = "tls.crt", "tls.key", "previous.crt", "ca.crt"  # keys of the two Secrets

log = logging.getLogger(__name__)


class Plan(msgspec.Struct, frozen=True):
    """The names that the certificates are for, and their lifetimes."""

    hosts: tuple[str, ...]
    ca_lifetime: timedelta
    leaf_lifetime: timedelta
    settle: timedelta = SETTLE
    overlap: timedelta = OVERLAP


class Observed(msgspec.Struct, frozen=True):
    """The objects as they are now: a Secret that is missing is None, a configuration that is missing is left out."""

    ca: Secret | None
    tls: Secret | None
    configurations: tuple[WebhookConfiguration, ...]


class WriteSecret(msgspec.Struct, frozen=True):
    """Create or replace one of the two Secrets."""

    which: Literal["ca", "tls"]
    secret: Secret
    why: str


class InjectCaBundle(msgspec.Struct, frozen=True):
    """Apply the bundle to a webhook configuration."""

    configuration: WebhookConfiguration
    bundle: bytes
    why: str = "its caBundle is not the one in force"


class Pending(msgspec.Struct, frozen=True):
    """Nothing to write yet."""

    why: str


class UpToDate(msgspec.Struct, frozen=True):
    """Nothing to write: both certificates are in force, and trusted."""

    ca: Validity
    leaf: Validity


Step = WriteSecret | InjectCaBundle | Pending | UpToDate


def decide(observed: Observed, plan: Plan, now: datetime, *, settled: bool) -> Step:
    """The next step from here; `settled` says that all configurations have shown the same for long enough."""
    try:
        ca = _pair(observed.ca)
        validity = certificates.check_authority(ca, now)
    except Unusable as reason:
        return _new_ca(observed, plan, now, _trusted(observed, now), f"the CA cannot go on: {reason}")
    previous = certificates.authorities(_get(observed.ca, PREVIOUS), now)
    if now >= validity.renewal and not previous:
        return _new_ca(observed, plan, now, (ca.certificate,), "two thirds of the CA's life are over")
    bundle = certificates.bundle((ca.certificate, *previous))
    for configuration in observed.configurations:
        if any(shown != bundle for shown in configuration.bundles.values()):
            return InjectCaBundle(configuration, bundle)
        if configuration.applied_entry is not None:
            return InjectCaBundle(configuration, bundle, "an earlier version owns more of it than its caBundle")
    try:
        leaf = certificates.check_leaf(_pair(observed.tls), ca, plan.hosts, now)
        if now >= leaf.renewal:
            raise Unusable("two thirds of its life are over")
    except Unusable as reason:
        if previous and not settled:
            return Pending("the API servers may not have seen the new CA yet")
        return _new_leaf(observed, plan, now, ca, f"the certificate cannot go on: {reason}")
    if PREVIOUS in _data(observed.ca) and (not previous or now - leaf.issued >= plan.overlap):
        return WriteSecret("ca", _secret(observed.ca, "Opaque", ca), "no replica serves a certificate of the former CA")
    return UpToDate(validity, leaf)


def _new_ca(observed: Observed, plan: Plan, now: datetime, previous: tuple[bytes, ...], why: str) -> WriteSecret:
    made = certificates.authority(now, plan.ca_lifetime)
    extra = {PREVIOUS: certificates.bundle(previous)} if previous else {}
    return WriteSecret("ca", _secret(observed.ca, "Opaque", made, extra), why)


def _new_leaf(observed: Observed, plan: Plan, now: datetime, ca: Pair, why: str) -> WriteSecret:
    made = certificates.leaf(ca, plan.hosts, now, plan.leaf_lifetime)
    return WriteSecret("tls", _secret(observed.tls, "kubernetes.io/tls", made, {CA: ca.certificate}), why)


def _trusted(observed: Observed, now: datetime) -> tuple[bytes, ...]:
    """The CAs of the certificates that replicas may be serving, where the CA Secret itself is lost."""
    sources = [_get(observed.ca, CERTIFICATE), _get(observed.ca, PREVIOUS), _get(observed.tls, CA)]
    sources += [shown for each in observed.configurations for shown in each.bundles.values()]
    found = dict.fromkeys(each for source in sources for each in certificates.authorities(source, now))
    return tuple(found)[:MOST_PREVIOUS]


def _secret(former: Secret | None, kind: str, pair: Pair, extra: dict[str, bytes] | None = None) -> Secret:
    data = {CERTIFICATE: pair.certificate, KEY: pair.key, **(extra or {})}
    if former is None:
        return Secret(kind, data)
    return Secret(former.type, data, former.resource_version)  # a Secret's type cannot be changed, nor matters


def _data(secret: Secret | None) -> dict[str, bytes]:
    return secret.data if secret is not None else {}


def _get(secret: Secret | None, key: str) -> bytes:
    return _data(secret).get(key, b"")


def _pair(secret: Secret | None) -> Pair:
    if secret is None:
        raise Unusable("the Secret is missing")
    return Pair(_get(secret, CERTIFICATE), _get(secret, KEY))


class Objects(Protocol):
    """The few calls that rotation needs; `webhook.controller.certificate_objects.CertificateObjects` has them."""

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret, or None."""
        ...

    async def write_secret(self, namespace: str, name: str, content: Secret) -> None:
        """Create or replace it, guarded by its version."""
        ...

    async def webhook_configuration(self, kind: ConfigurationKind, name: str) -> WebhookConfiguration | None:
        """A configuration, or None."""
        ...

    async def inject_ca_bundle(self, configuration: WebhookConfiguration, bundle: bytes) -> None:
        """Apply its caBundle, guarded by its version."""
        ...


class Names(msgspec.Struct, frozen=True):
    """The names of the Secrets and webhook configurations."""

    namespace: str
    ca: str
    tls: str
    configurations: tuple[tuple[ConfigurationKind, str], ...]
    provider: str = ""  # of Gatekeeper; empty: there is none


class Rotation:
    """Looks, decides, and writes one thing. Every method raises `ClusterError`."""

    def __init__(self, objects: Objects, names: Names, plan: Plan, clock: Callable[[], datetime]) -> None:
        self._objects = objects
        self._names = names
        self._plan = plan
        self._clock = clock
        self._shown: tuple[WebhookConfiguration, ...] = ()
        self._since = datetime.min.replace(tzinfo=UTC)

    async def step(self) -> Step:
        """The step that was taken."""
        observed = await self._observe()
        now = self._clock()
        if self._names.provider:
            await self._update_provider(observed.ca, now)
        if observed.configurations != self._shown:
            self._shown, self._since = observed.configurations, now
        step = decide(observed, self._plan, now, settled=now - self._since >= self._plan.settle)
        match step:
            case WriteSecret():
                name = self._names.ca if step.which == "ca" else self._names.tls
                log.info("writing Secret %s/%s: %s", self._names.namespace, name, step.why)
                await self._objects.write_secret(self._names.namespace, name, step.secret)
            case InjectCaBundle():
                log.info("applying %s %s: %s", step.configuration.kind, step.configuration.name, step.why)
                await self._objects.inject_ca_bundle(step.configuration, step.bundle)
        return step

    async def _update_provider(self, ca: Secret | None, now: datetime) -> None:
        """Give Gatekeeper's Provider the bundle, too. Whatever stands in the way there holds no certificate up."""
        authorities = (
            *certificates.authorities(_get(ca, CERTIFICATE), now),
            *certificates.authorities(_get(ca, PREVIOUS), now),
        )
        try:
            provider = await self._objects.webhook_configuration("Provider", self._names.provider)
            bundle = certificates.bundle(authorities)
            if provider is not None and authorities and any(shown != bundle for shown in provider.bundles.values()):
                log.info("applying Provider %s: its caBundle is not the one in force", provider.name)
                await self._objects.inject_ca_bundle(provider, bundle)
        except ClusterError as error:
            log.warning("Gatekeeper may not trust us: %s", error)

    async def _observe(self) -> Observed:
        names = self._names
        found = [await self._objects.webhook_configuration(kind, name) for kind, name in names.configurations]
        return Observed(
            await self._objects.secret(names.namespace, names.ca),
            await self._objects.secret(names.namespace, names.tls),
            tuple(each for each in found if each is not None),
        )
