"""The triggers of the controller: changes of the webhook configurations, of policies, exceptions and namespaces."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import kopf

from webhook.controller.settings import OperateSettings
from webhook.policy.types import API_VERSION

SCAN_REQUESTED = "nonroot.dev/scan-requested-at"
"""An annotation of a policy, exception or namespace: whoever gives it another value asks for a scan of what it applies to."""

Notify = Callable[[], object]
Trigger = Callable[[str | None], object]


class Triggers:
    """Registers the handlers of an operator.

    `certificates` is called where a webhook configuration may have changed; `policies` with the name of a namespace that has,
    or that has an exception which has, other than by a status of ours, and with None where a policy has. What there was
    before `began` is no news when it is listed first.
    """

    def __init__(
        self, settings: OperateSettings, certificates: Notify | None, policies: Trigger, began: datetime | None = None
    ) -> None:
        self._settings = settings
        self._certificates = certificates
        self._policies = policies
        self._began = f"{began or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._seen: dict[str, object] = {}

    def register(self, registry: kopf.OperatorRegistry, operator: kopf.OperatorSettings) -> None:
        """Add the handlers."""
        if self._certificates is not None:
            self._register_certificates(self._certificates, registry, operator)
        group, version = API_VERSION.split("/")
        kopf.on.event("", "v1", "namespaces", registry=registry)(self._namespace)
        kopf.on.event(group, version, "nonrootpolicies", registry=registry)(self._policy)
        kopf.on.event(group, version, "nonrootexceptions", registry=registry)(self._exception)

    def _register_certificates(
        self, notify: Notify, registry: kopf.OperatorRegistry, operator: kopf.OperatorSettings
    ) -> None:
        async def changed(**_: Any) -> None:
            notify()

        group = "admissionregistration.k8s.io"
        for plural, name in (
            ("mutatingwebhookconfigurations", self._settings.mutating_configuration),
            ("validatingwebhookconfigurations", self._settings.validating_configuration),
        ):
            operator.watching.field_selectors[group, plural] = f"metadata.name={name}"
            kopf.on.event(group, "v1", plural, registry=registry)(changed)

    async def _namespace(self, **event: Any) -> None:
        if self._is_news(event):
            self._policies(event["body"]["metadata"]["name"])

    async def _exception(self, **event: Any) -> None:
        if self._is_news(event):
            self._policies(event["body"]["metadata"]["namespace"])

    async def _policy(self, **event: Any) -> None:
        if self._is_news(event):
            self._policies(None)

    def _is_news(self, event: Mapping[str, Any]) -> bool:
        metadata = event["body"]["metadata"]
        uid: str = metadata["uid"]
        if event["type"] == "DELETED":
            self._seen.pop(uid, None)
            return True
        asked = (metadata.get("annotations") or {}).get(SCAN_REQUESTED)
        now = (metadata.get("generation"), tuple(sorted((metadata.get("labels") or {}).items())), asked)
        former = self._seen.get(uid)
        self._seen[uid] = now
        if former is None and event["type"] is None:  # listed: at the start, or after a gap
            return (metadata.get("creationTimestamp") or "") > self._began
        return former != now
