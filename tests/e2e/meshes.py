"""What Istio and Linkerd inject into a Pod where their CNI plugin sets up the network, as Pod Security restricted demands.

Their injectors are no programs that can be had here, so that the containers are modelled on their templates, with the default
values: istio/istio manifests/charts/istio-control/istio-discovery/files/injection-template.yaml; linkerd/linkerd2
charts/partials/templates/_proxy.tpl, _network-validator.tpl. Images are given, and what nobody here reads is left out.
"""

from collections.abc import Callable
from typing import Any

from tests.e2e.injector import Patch

Context = dict[str, Any]

_DROPS_ALL: Context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_ISTIO: Context = {
    **_DROPS_ALL,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsGroup": 1337,
    "runAsNonRoot": True,
    "runAsUser": 1337,
}
_LINKERD: Context = {
    **_DROPS_ALL,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
MESHES: dict[str, dict[str, dict[str, Context]]] = {
    "istio": {"initContainers": {"istio-validation": _ISTIO}, "containers": {"istio-proxy": _ISTIO}},
    "linkerd": {
        "initContainers": {"linkerd-network-validator": {**_LINKERD, "runAsUser": 65534, "runAsGroup": 65534}},
        "containers": {"linkerd-proxy": {**_LINKERD, "runAsUser": 2102}},
    },
}


def injecting(mesh: str, image: str) -> Callable[[Context], Patch]:
    """What adds a mesh's containers, and where they are there already writes the template's fields anew, as Istio does."""

    def patch(spec: Context) -> Patch:
        made: Patch = []
        for kind, containers in MESHES[mesh].items():
            names = [each["name"] for each in spec.get(kind, ())]
            if not names:
                made.append({"op": "add", "path": f"/spec/{kind}", "value": []})
            for name, context in containers.items():
                if name not in names:
                    value = {"name": name, "image": image, "securityContext": context}
                    made.append({"op": "add", "path": f"/spec/{kind}/-", "value": value})
                    continue
                place = f"/spec/{kind}/{names.index(name)}/securityContext"
                made += [{"op": "add", "path": f"{place}/{field}", "value": value} for field, value in context.items()]
        return made

    return patch
