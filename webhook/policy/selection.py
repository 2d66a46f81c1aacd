"""Which policy governs a namespace, and whom it lets be: exemptions, presets and exceptions."""

from collections.abc import Iterable

import msgspec

from webhook.policy.types import Metadata, Mode, NonRootPolicy, PolicySpec

MODE_LABEL = "nonroot.dev/mode"
BUILT_IN = NonRootPolicy(Metadata("built-in"), PolicySpec())

_STRICTNESS: dict[Mode, int] = {"Audit": 0, "Warn": 1, "Enforce": 2}
_MODES: dict[str, Mode] = {"audit": "Audit", "warn": "Warn", "enforce": "Enforce"}


class Namespace(msgspec.Struct, frozen=True):
    """A namespace as selectors see it."""

    name: str
    labels: dict[str, str] = {}

    @property
    def selectable(self) -> dict[str, str]:
        """Its labels with the one that the API server gives every namespace."""
        return {**self.labels, "kubernetes.io/metadata.name": self.name}


class EffectivePolicy(msgspec.Struct, frozen=True):
    """The one policy of a namespace and the mode in force there; `why` for `nonroot policy`, `problem` a bad label."""

    policy: NonRootPolicy
    mode: Mode
    why: str
    problem: str = ""

    @property
    def injects(self) -> bool:
        """Whether new Pods are patched."""
        return self.policy.spec.injects(self.mode)


def precedence(policy: NonRootPolicy) -> tuple[int, str]:
    """Of several policies that select a namespace the smallest one applies."""
    return -policy.spec.priority, policy.metadata.name


def select_policy(policies: Iterable[NonRootPolicy], namespace: Namespace) -> EffectivePolicy:
    """The policy in force: of those that select the namespace the highest priority, then the first name; else Audit."""
    labels = namespace.selectable
    selected = [policy for policy in policies if policy.spec.namespace_selector.matches(labels)]
    policy = min(selected, key=precedence, default=BUILT_IN)
    if policy is BUILT_IN:
        why = "no NonRootPolicy selects the namespace"
    else:
        others = f"before {len(selected) - 1} other(s) by priority, then name" if len(selected) > 1 else "the only one"
        why = f"selected by namespaceSelector with priority {policy.spec.priority}, {others}"
    label = namespace.labels.get(MODE_LABEL)
    if label is None or policy.spec.namespace_label == "Ignore":
        return EffectivePolicy(policy, policy.spec.mode, why)
    mode = _MODES.get(label.lower())
    problem = ""
    if mode is None:
        mode = "Enforce"
        problem = (
            f"the namespace label {MODE_LABEL} has the value {label[:63]!a}; "
            "it must be audit, warn or enforce, and counts as enforce"
        )
    if policy.spec.namespace_label == "StricterOnly" and _STRICTNESS[mode] < _STRICTNESS[policy.spec.mode]:
        return EffectivePolicy(
            policy, policy.spec.mode, f"{why}; the namespace label asks for less, which the policy ignores", problem
        )
    return EffectivePolicy(policy, mode, f"{why}; the mode is the namespace label's", problem)
