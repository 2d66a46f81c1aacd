"""The checker of what mode Enforce guarantees, from the kubelet's semantics alone: it shares no code with the product.

Sources: kubernetes pkg/kubelet/kuberuntime/security_context_others.go and security_context_windows.go (verifyRunAsNonRoot),
pkg/securitycontext/util.go (DetermineEffectiveSecurityContext), pkg/kubelet/lifecycle/predicate.go (a Pod whose spec.os or
node selector is another system's is not run); k8s.io/api core/v1/types.go (PodOS).
"""

from collections.abc import Iterator
from typing import Any

LISTS = ("initContainers", "containers", "ephemeralContainers")
LABEL = "kubernetes.io/os"


def containers(pod: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every container of a Pod, with the name of its list."""
    for name in LISTS:
        for each in pod["spec"].get(name) or ():
            yield name, each


def keeps_root_out(pod: dict[str, Any], container: dict[str, Any]) -> bool:
    """Whether no kubelet that follows the stored Pod would start the container as root, whatever its image is."""
    outer, inner = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}

    def effective(field: str) -> Any:
        return outer.get(field) if inner.get(field) is None else inner[field]

    if effective("runAsNonRoot") is True:
        return True  # it starts a user that it knows to be another one, or nothing
    if on_windows_only(pod):
        names = [(context.get("windowsOptions") or {}).get("runAsUserName") for context in (inner, outer)]
        name = next((each for each in names if each is not None), None)
        return name is not None and name.replace("ſ", "s").lower() != "containeradministrator"
    uid = effective("runAsUser")
    return uid is not None and uid != 0


def on_windows_only(pod: dict[str, Any]) -> bool:
    """Whether no Linux node would run the Pod."""
    spec = pod["spec"]
    named = (spec.get("os") or {}).get("name")
    if named in {"linux", "windows"}:
        return bool(named == "windows")
    if (spec.get("nodeSelector") or {}).get(LABEL, "linux") == "windows":
        return True
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    terms = affinity.get("nodeSelectorTerms") or []
    return bool(terms) and all(
        any(
            each["key"] == LABEL and each["operator"] == "In" and set(each["values"]) == {"windows"}
            for each in term.get("matchExpressions") or ()
        )
        for term in terms
    )
