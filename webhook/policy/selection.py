"""The effective policy of a namespace, and the mode in force there."""

from collections.abc import Iterable

import msgspec

from webhook.policy.types import Metadata, Mode, NonRootPolicy, PolicySpec

MODE_LABEL = "nonroot.dev/mode"
_POD_SECURITY = "pod-security.kubernetes.io/enforce"
BUILT_IN = NonRootPolicy(Metadata("(built-in)"), PolicySpec())  # a name that no object of the cluster can have

_STRICTNESS: dict[Mode, int] = {"Audit": 0, "Warn": 1, "Enforce": 2}
_MODES: dict[str, Mode] = {"audit": "Audit", "warn": "Warn", "enforce": "Enforce"}


class Namespace(msgspec.Struct, frozen=True):
    """A namespace as selectors see it."""

    name: str
    labels: dict[str, str] = {}

    @property
    def selectable(self) -> dict[str, str]:
        """The labels of a namespace with the one that the API server gives every namespace."""
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
    def mode_source(self) -> str:
        """The object that has set the mode, for messages."""
        return "the policy" if self.mode == self.policy.spec.mode else f"the namespace label {MODE_LABEL}"

    @property
    def injects(self) -> bool:
        """Whether new Pods are patched."""
        return self.policy.spec.injects(self.mode)


Precedence = tuple[int, tuple[int, ...], str]
"""The sort key of policies that select one namespace; the smallest applies."""


def precedence(policy: NonRootPolicy, namespace: Namespace) -> Precedence:
    """The highest priority applies, then the stricter policy, then the first name.

    Stricter is the mode that would be in force in the namespace, then not to allow root images, then no exceptions.
    """
    spec = policy.spec
    mode = _effective(policy, namespace, "").mode
    lenience = (-_STRICTNESS[mode], int(spec.root_images == "Allow"), int(spec.exceptions == "Allow"))
    return -spec.priority, lenience, policy.metadata.name


def select_policy(policies: Iterable[NonRootPolicy], namespace: Namespace) -> EffectivePolicy:
    """The policy in force: of those that select the namespace the first by `precedence`; else the built-in one, Audit."""
    labels = namespace.selectable
    selected = [policy for policy in policies if policy.spec.namespace_selector.matches(labels)]
    if not selected:
        return _effective(BUILT_IN, namespace, "no NonRootPolicy selects the namespace")
    if len(selected) == 1:
        policy, others = selected[0], "the only one"
    else:
        policy = min(selected, key=lambda each: precedence(each, namespace))
        others = f"before {len(selected) - 1} other(s) by priority, then the stricter one, then name"
    return _effective(
        policy, namespace, f"selected by namespaceSelector with priority {policy.spec.priority}, {others}"
    )


def _effective(policy: NonRootPolicy, namespace: Namespace, why: str) -> EffectivePolicy:
    """A policy with the mode that it has in a namespace."""
    restricted = _restricted(namespace)
    label = namespace.labels.get(MODE_LABEL)
    mode = _MODES.get(label.lower()) if label is not None else None
    if label is None or (policy.spec.namespace_label == "Ignore" and mode in {"Audit", "Warn"}):
        return EffectivePolicy(policy, policy.spec.mode, why, restricted=restricted)
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
