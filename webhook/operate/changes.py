"""What wakes the controller: changes of the two webhook configurations, and of what decides which policy applies where."""

from collections.abc import Callable
from typing import Any

import kopf

from webhook import watching
from webhook.operate import OperateSettings
from webhook.policy import API_VERSION

Notify = Callable[[], object]


class Changes:
    """Registers the handlers of one operator after the other. The functions are called in kopf's thread.

    `certificates` where a webhook configuration may have changed; `policies` where a namespace, policy or exception has,
    other than by a status of ours or a label of no interest to anybody.
    """

    def __init__(self, settings: OperateSettings, certificates: Notify | None, policies: Notify) -> None:
        self._settings = settings
        self._certificates = certificates
        self._policies = policies
        self._seen: dict[str, object] = {}
        self._operators = 0

    def register(self, registry: kopf.OperatorRegistry, operator: kopf.OperatorSettings) -> watching.Observe:
        """Add the handlers."""
        self._operators += 1
        if self._certificates is not None:
            self._register_certificates(self._certificates, registry, operator)
        group, version = API_VERSION.split("/")
        kopf.on.event("", "v1", "namespaces", registry=registry)(self._changed)
        for plural in ("nonrootpolicies", "nonrootexceptions"):
            kopf.on.event(group, version, plural, registry=registry)(self._changed)
        return lambda _answer: None

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

    async def _changed(self, **event: Any) -> None:
        metadata = event["body"]["metadata"]
        uid: str = metadata["uid"]
        if event["type"] == "DELETED":
            self._seen.pop(uid, None)
            self._policies()
            return
        now = (metadata.get("generation"), tuple(sorted((metadata.get("labels") or {}).items())))
        if self._seen.get(uid) != now:
            self._seen[uid] = now
            if event["type"] is not None or self._operators > 1:  # of the very first listing nothing is news
                self._policies()
