"""Which policy governs a namespace, and whom it lets be: exemptions, presets and exceptions."""

from collections.abc import Iterable

import msgspec

from webhook.policy.types import Metadata, Mode, NonRootPolicy, PolicySpec

MODE_LABEL = "nonroot.dev/mode"
_POD_SECURITY = "pod-security.kubernetes.io/enforce"
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
    """The one policy of a namespace and the mode in force there; `why` for `nonroot policy`, `problem` a bad label.

    `restricted`: the namespace enforces Pod Security restricted.
    """

    policy: NonRootPolicy
    mode: Mode
    why: str
    problem: str = ""
    restricted: bool = False

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
    restricted = _restricted(namespace)
    label = namespace.labels.get(MODE_LABEL)
    if label is None or policy.spec.namespace_label == "Ignore":
        return EffectivePolicy(policy, policy.spec.mode, why, restricted=restricted)
    mode = _MODES.get(label.lower())
    problem = ""
    if mode is None:
        mode = "Enforce"
        problem = (
            f"the namespace label {MODE_LABEL} has the value {label[:63]!a}; "
            "it must be audit, warn or enforce, and counts as enforce"
        )
    if policy.spec.namespace_label == "StricterOnly" and _STRICTNESS[mode] < _STRICTNESS[policy.spec.mode]:
        ignored = f"{why}; the namespace label asks for less, which the policy ignores"
        return EffectivePolicy(policy, policy.spec.mode, ignored, problem, restricted)
    return EffectivePolicy(policy, mode, f"{why}; the mode is the namespace label's", problem, restricted)


def _restricted(namespace: Namespace) -> bool:
    """As k8s.io/pod-security-admission api/helpers.go (ParseLevel): a level that it does not know counts as restricted."""
    level = namespace.labels.get(_POD_SECURITY, "privileged")
    return level not in {"privileged", "baseline"}
