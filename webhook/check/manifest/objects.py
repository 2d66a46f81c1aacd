"""The Kubernetes objects of a document, and the workload in each: Lists are opened, custom kinds are configurable.

Sources: k8s.io/api {apps,batch,core,extensions}; k8s.io/apimachinery pkg/runtime (a List is any kind ending so, with
items); argoproj/argo-rollouts, knative/serving and openshift/api (where their kinds carry a Pod template).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from webhook.check.manifest.decode import entry, plain
from webhook.check.manifest.parser import Node, resolved
from webhook.check.manifest.parser import Sequence as SequenceNode
from webhook.errors import InvalidSetting
from webhook.workload import json_pointer
from webhook.workload import workload as pod
from webhook.workload.workload import Workload

LIST_DEPTH = 8

TemplateKinds = Mapping[tuple[str, str], str]
"""(API group, kind) -> JSON pointer of the Pod template in it: what has `metadata` and a Pod's `spec`."""

KNOWN_TEMPLATE_KINDS: TemplateKinds = {
    ("argoproj.io", "Rollout"): "/spec/template",
    ("serving.knative.dev", "Service"): "/spec/template",
    ("apps.openshift.io", "DeploymentConfig"): "/spec/template",
}

_OPENSHIFT_TEMPLATE = ("template.openshift.io/", "v1")
_NO_TEMPLATES = frozenset(
    {"", "apps", "batch", "extensions", "apiextensions.k8s.io", "admission.k8s.io", "admissionregistration.k8s.io"}
)
_POLICIES = ("kyverno.io", "gatekeeper.sh", "nonroot.dev")

_GROUPS = {
    "Pod": {""},
    "PodTemplate": {""},
    "ReplicationController": {""},
    "Deployment": {"apps", "extensions"},
    "ReplicaSet": {"apps", "extensions"},
    "DaemonSet": {"apps", "extensions"},
    "StatefulSet": {"apps"},
    "Job": {"batch"},
    "CronJob": {"batch"},
}


class Object(msgspec.Struct, frozen=True):
    """One object: its kind, its node in the text, and where it stands in its document ("" unless it is in a List).

    `aliases` are the pointers of containers that the object's own kind keeps elsewhere, each with where that is.
    """

    group: str
    kind: str
    node: Node
    pointer: str = ""
    by_shape: bool = False
    aliases: tuple[tuple[str, str], ...] = ()

    def place(self, pointer: str) -> str:
        """The pointer in the object of a part of the Pod spec: another where its kind keeps containers elsewhere."""
        for standard, own in self.aliases:
            if pointer == standard or pointer.startswith(f"{standard}/"):
                return own + pointer[len(standard) :]
        return pointer


def objects(root: Node, pointer: str = "") -> Iterator[Object]:
    """The objects of a document; none where it is no object, such as a Helm chart's values."""
    api_version, kind = _text(root, "apiVersion"), _text(root, "kind")
    if not api_version or not kind:
        return
    is_template = kind == "Template" and api_version.startswith(_OPENSHIFT_TEMPLATE)
    name = "items" if kind.endswith("List") else "objects" if is_template else ""
    items = entry(root, name) if name else None
    inside = resolved(items[1]) if items else None
    if isinstance(inside, SequenceNode):
        if pointer.count("/") < 2 * LIST_DEPTH:
            for index, item in enumerate(inside.items):
                yield from objects(item, f"{pointer}/{name}/{index}")
        return
    group, slash, _ = api_version.rpartition("/")
    yield Object(group if slash else "", kind, root, pointer)


def workload(found: Object, kinds: TemplateKinds = KNOWN_TEMPLATE_KINDS) -> Workload | None:
    """The workload in an object, with pointers from the object; None where it is of another kind or has no Pod spec.

    `MalformedYaml` where the text is no such object, `MalformedReview` where the API server would not take it.
    """
    if found.group in _GROUPS.get(found.kind, ()):
        return pod.decode(found.kind, msgspec.json.encode(plain(found.node)))
    template = kinds.get((found.group, found.kind))
    if template is None:
        return None
    data = plain(found.node)
    holder = {"metadata": data.get("metadata"), "template": json_pointer.value(data, template)}
    decoded = pod.decode("PodTemplate", msgspec.json.encode(holder))
    return decoded and msgspec.structs.replace(decoded, kind=found.kind, pointer=f"{template}/spec")


def workloads(
    found: Object, kinds: TemplateKinds = KNOWN_TEMPLATE_KINDS, *, by_shape: bool = True
) -> list[tuple[Object, Workload]]:
    """The workload in an object or, of a kind that nobody named, every Pod template that is found by its shape.

    Raises as `workload`. `by_shape` is false where the text is known to have no such template.
    """
    known = workload(found, kinds)
    if known is not None:
        return [(found, known)]
    return list(found_by_shape(found)) if by_shape else []


def found_by_shape(found: Object) -> Iterator[tuple[Object, Workload]]:
    """The Pod templates in an object of a kind that nobody named: whatever has a list of containers with images.

    Of Argo's and Tekton's kinds also what has one container, or steps, in place of that list; the object then says where
    these are. Policies, whose patterns look like Pods, and kinds of Kubernetes itself are left out.
    """
    if found.group in _NO_TEMPLATES or found.group.endswith(_POLICIES):
        return
    data = plain(found.node)
    metadata = data.get("metadata") if isinstance(data, dict) else None
    pending: list[tuple[str, Any, Any, Any]] = [("", data, None, None)]
    while pending:
        pointer, value, parent, context = pending.pop()
        if isinstance(value, list):
            pending += [(f"{pointer}/{index}", each, None, context) for index, each in enumerate(value)][::-1]
            continue
        if not isinstance(value, dict):
            continue
        spec, aliases = _pod_spec(found.group, pointer, value, context)
        if spec is None:
            inner = value.get("securityContext") if isinstance(value.get("templates"), list) else context
            pending += [(f"{pointer}/{json_pointer.escaped(key)}", each, value, inner) for key, each in value.items()][
                ::-1
            ]
            continue
        labels = parent.get("metadata") if isinstance(parent, dict) and parent is not data else None
        holder = {"metadata": metadata, "template": {"metadata": labels, "spec": spec}}
        decoded = pod.decode("PodTemplate", msgspec.json.encode(holder))
        if decoded is not None:
            yield (
                msgspec.structs.replace(found, by_shape=True, aliases=aliases),
                msgspec.structs.replace(decoded, kind=found.kind, pointer=pointer),
            )


def _pod_spec(group: str, pointer: str, value: Any, context: Any) -> tuple[Any, tuple[tuple[str, str], ...]]:
    """A mapping as a Pod spec, where it is one, and the aliases of its containers."""
    if _has_images(value.get("containers")):
        return value, ()
    if group == "argoproj.io":
        for name in ("container", "script"):
            if _has_images([value.get(name)]):
                spec = {"securityContext": value.get("securityContext", context), "containers": [value[name]]}
                return spec, ((f"{pointer}/containers/0", f"{pointer}/{name}"),)
    if group == "tekton.dev" and _has_images(value.get("steps")):
        return {"containers": value["steps"]}, ((f"{pointer}/containers", f"{pointer}/steps"),)
    return None, ()


def _has_images(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(each, dict) for each in value)
        and any(isinstance(each.get("image"), str) for each in value)
    )


def parse_template_kind(text: str) -> tuple[tuple[str, str], str]:
    """`GROUP/KIND=POINTER`, such as `argoproj.io/Rollout=/spec/template`; `InvalidSetting` for anything else."""
    name, equals, pointer = text.partition("=")
    group, slash, kind = name.rpartition("/")
    if not equals or not slash or not group or not kind or not pointer.startswith("/"):
        raise InvalidSetting(
            f"{text[:200]!a} names no kind with a Pod template: write GROUP/KIND=POINTER, such as "
            "example.com/Worker=/spec/template"
        )
    return (group, kind), pointer.rstrip("/")


def _text(node: Node, name: str) -> str:
    found = entry(node, name)
    value = plain(found[1]) if found else None
    return value if isinstance(value, str) else ""
