"""A document's tree -> its Kubernetes objects, and the workload in each: Lists are opened, custom kinds are configurable.

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
    """One object: its kind, its node in the text, and where it stands in its document ("" unless it is in a List)."""

    group: str
    kind: str
    node: Node
    pointer: str = ""


def objects(root: Node, pointer: str = "") -> Iterator[Object]:
    """The objects of a document; none where it is no object, such as a Helm chart's values."""
    api_version, kind = _text(root, "apiVersion"), _text(root, "kind")
    if not api_version or not kind:
        return
    items = entry(root, "items") if kind.endswith("List") else None
    inside = resolved(items[1]) if items else None
    if isinstance(inside, SequenceNode):
        if pointer.count("/items/") < LIST_DEPTH:
            for index, item in enumerate(inside.items):
                yield from objects(item, f"{pointer}/items/{index}")
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
    holder = {"metadata": data.get("metadata"), "template": _at(data, template)}
    decoded = pod.decode("PodTemplate", msgspec.json.encode(holder))
    return decoded and msgspec.structs.replace(decoded, kind=found.kind, pointer=f"{template}/spec")


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


def _at(data: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        data = data.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(data, dict) else None
    return data
