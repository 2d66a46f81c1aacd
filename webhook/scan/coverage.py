"""Webhook configuration -> the namespaces whose Pods the API server sends to admission at all.

A Pod of another namespace runs as it always did, whatever any policy says. The configuration is the chart's, so its
conditions have the shape that the chart gives them; what somebody has added to them is not evaluated.
Source: charts/nonroot-webhook/templates/_hooks.tpl (nonroot.namespaceSelector, nonroot.commonConditions).
"""

import re
from collections.abc import Iterable

import msgspec

from webhook.policy.selection import MODE_LABEL, Namespace
from webhook.policy.types import LabelSelector

PART_OF = "app.kubernetes.io/part-of=nonroot-webhook"
_QUOTED = re.compile(r"'([A-Za-z0-9.-]+)'")
_PREFIXES, _NAMES = "not-managed-by-prefix", "not-managed-by-name"


class _Condition(msgspec.Struct, frozen=True):
    name: str
    expression: str


class _Hook(msgspec.Struct, frozen=True, rename="camel"):
    namespace_selector: LabelSelector = LabelSelector()
    match_conditions: tuple[_Condition, ...] = ()

    def reaches(self, namespace: Namespace) -> bool:
        if not self.namespace_selector.matches(namespace.selectable):
            return False
        for condition in self.match_conditions:
            listed = _QUOTED.findall(condition.expression)
            if condition.name == _PREFIXES and namespace.name.startswith(tuple(listed)):
                return False
            if condition.name == _NAMES and namespace.name in listed:
                return False
        return True


class _Configuration(msgspec.Struct, frozen=True):
    webhooks: tuple[_Hook, ...] = ()


class Reach:
    """What the hooks of some ValidatingWebhookConfigurations reach, once a namespace's label says enforce."""

    def __init__(self, hooks: Iterable[_Hook]) -> None:
        self._hooks = tuple(hooks)

    def covers(self, namespace: Namespace) -> bool:
        """Whether Pods of a namespace are sent to us."""
        enforced = Namespace(namespace.name, {**namespace.labels, MODE_LABEL: "enforce"})
        return any(hook.reaches(each) for hook in self._hooks for each in (namespace, enforced))


def read(configurations: Iterable[bytes | msgspec.Raw]) -> Reach | None:
    """The reach of what is installed; None where nothing is. `msgspec.ValidationError` for what is no configuration."""
    decoded = (msgspec.json.decode(each, type=_Configuration) for each in configurations)
    hooks = tuple(hook for each in decoded for hook in each.webhooks)
    return Reach(hooks) if hooks else None


# Before anything is installed: the chart's own defaults, but for the namespace into which it will be.
DEFAULT = Reach(
    [
        _Hook(
            match_conditions=(
                _Condition(_PREFIXES, "'kube-', 'openshift-', 'gke-'"),
                _Condition(_NAMES, "'calico-system', 'tigera-operator'"),
            )
        )
    ]
)
