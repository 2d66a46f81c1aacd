"""The coverage of the webhook configurations: the namespaces whose Pods the API server sends to admission.

A Pod of another namespace runs as it always did, whatever any policy says. The configuration is the chart's, so its
conditions have the shape that the chart gives them; what somebody has added to them is not evaluated.
Source: charts/nonroot-webhook/templates/_hooks.tpl (nonroot.selectors, nonroot.commonConditions).
"""

import re
from collections.abc import Iterable

import msgspec

from webhook.policy.selection import MODE_LABEL, Namespace
from webhook.policy.types import Expression, LabelSelector

PART_OF = "app.kubernetes.io/part-of=nonroot-webhook"
_QUOTED = re.compile(r"'([A-Za-z0-9.-]+)'")
_PREFIXES, _NAMES = "not-managed-by-prefix", "not-managed-by-name"


class _Condition(msgspec.Struct, frozen=True):
    name: str
    expression: str


class _Requirement(Expression, frozen=True):
    values: tuple[str, ...] = ()  # as many as the API server takes: a policy has to be content with fewer


class _Selector(LabelSelector, frozen=True, rename="camel", forbid_unknown_fields=False):
    match_expressions: tuple[_Requirement, ...] = ()


class _Rule(msgspec.Struct, frozen=True):
    resources: tuple[str, ...] = ()


class _Hook(msgspec.Struct, frozen=True, rename="camel"):
    namespace_selector: _Selector = _Selector()
    match_conditions: tuple[_Condition, ...] = ()
    rules: tuple[_Rule, ...] = (_Rule(("pods",)),)
    failure_policy: str = "Fail"  # kubernetes pkg/apis/admissionregistration/v1/defaults.go

    @property
    def of_pods(self) -> bool:
        """Whether Pods are sent to it; Pod templates are to another one, which refuses nothing by default."""
        return any("pods" in rule.resources for rule in self.rules)

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


class Coverage:
    """The namespaces that the hooks of some ValidatingWebhookConfigurations cover, once a namespace's label says enforce."""

    def __init__(self, hooks: Iterable[_Hook]) -> None:
        self._hooks = tuple(hooks)

    def covers(self, namespace: Namespace) -> bool:
        """Whether Pods of a namespace are sent to us, once its label says enforce if not before."""
        return self.asks_today(namespace) or self.asks_today(
            Namespace(namespace.name, {**namespace.labels, MODE_LABEL: "enforce"})
        )

    def asks_today(self, namespace: Namespace) -> bool:
        """Whether Pods of a namespace are sent to us as its labels stand."""
        return any(hook.of_pods and hook.reaches(namespace) for hook in self._hooks)

    def fails_open(self, namespace: Namespace) -> bool:
        """Whether Pods of a namespace are sent to us, and admitted where we do not answer."""
        policies = {hook.failure_policy for hook in self._hooks if hook.of_pods and hook.reaches(namespace)}
        return bool(policies) and "Fail" not in policies


def read(configurations: Iterable[bytes | msgspec.Raw]) -> Coverage | None:
    """The coverage of what is installed; None where nothing is. `msgspec.ValidationError` for what is no configuration."""
    decoded = (msgspec.json.decode(each, type=_Configuration) for each in configurations)
    hooks = tuple(hook for each in decoded for hook in each.webhooks)
    return Coverage(hooks) if hooks else None


# Before anything is installed: the chart's own defaults, but for the namespace into which it will be.
_CONDITIONS = (
    _Condition(_PREFIXES, "'kube-', 'openshift-', 'gke-'"),
    _Condition(_NAMES, "'calico-system', 'tigera-operator'"),
)
_LABELLED = _Selector(
    match_expressions=(_Requirement(MODE_LABEL, "Exists"), _Requirement(MODE_LABEL, "NotIn", ("audit", "warn")))
)
DEFAULT = Coverage([_Hook(_LABELLED, _CONDITIONS), _Hook(match_conditions=_CONDITIONS, failure_policy="Ignore")])
