"""The nodes that a Pod may run on, as far as its spec decides: their operating system and architectures.

Sources: k8s.io/api core/v1/types.go (PodOS, node labels); kubernetes
pkg/kubelet/kuberuntime/security_context_windows.go (the node's OS decides which check runs).
"""

from webhook.workload.podspec import PodSpec

OS_LABEL = "kubernetes.io/os"
ARCH_LABEL = "kubernetes.io/arch"
LABEL_LIMIT = 63  # characters of a label's value

_ANYWHERE: frozenset[str] = frozenset()  # one for nearly all Pods, which caches keep
_WINDOWS = frozenset({"windows"})


def operating_system(spec: PodSpec) -> str:
    """`linux` unless the Pod says or is bound to Windows; `spec.os` wins, an unknown name counts as unset."""
    if spec.os and spec.os.name in {"linux", "windows"}:
        return spec.os.name
    return "windows" if allowed(spec, OS_LABEL) == _WINDOWS else "linux"


def architectures(spec: PodSpec) -> frozenset[str]:
    """The architectures that the Pod is bound to; empty where it may land on any. No node has one that is no label value."""
    found = allowed(spec, ARCH_LABEL)
    if not found:
        return _ANYWHERE
    if any(len(each) > LABEL_LIMIT for each in found):
        return frozenset(each for each in found if len(each) <= LABEL_LIMIT)
    return found


def allowed(spec: PodSpec, label: str) -> frozenset[str] | None:
    """The values of a node label to which nodeSelector and required node affinity bind the Pod; None: not bound."""
    chosen: frozenset[str] | None = None
    if spec.node_selector and label in spec.node_selector:
        chosen = frozenset({spec.node_selector[label]})
    affinity = spec.affinity and spec.affinity.node_affinity
    required = affinity and affinity.required_during_scheduling_ignored_during_execution
    if required and required.node_selector_terms:
        union: set[str] = set()
        for term in required.node_selector_terms:  # terms are alternatives: one unbound term unbinds all
            bound: frozenset[str] | None = None
            for requirement in term.match_expressions or ():
                if requirement.key == label and requirement.operator == "In":
                    values = frozenset(requirement.values or ())
                    bound = values if bound is None else bound & values
            if bound is None:
                return chosen
            union |= bound
        chosen = frozenset(union) if chosen is None else chosen & union
    return chosen
