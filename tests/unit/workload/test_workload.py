"""Pods and templates of every kind are decoded, with all their containers and pointers; contexts are merged."""

import json
from typing import Any

import pytest

from tests.support.pods import first, minimal, tweak, within, workload
from tests.support.tables import table
from webhook.errors import MalformedReview
from webhook.workload.workload import TEMPLATE_KINDS, Effective, decode, effective


@table(
    ("kind", "pointer"),
    {
        "a Pod": ("Pod", "/spec"),
        "a Deployment": ("Deployment", "/spec/template/spec"),
        "a ReplicaSet": ("ReplicaSet", "/spec/template/spec"),
        "a StatefulSet": ("StatefulSet", "/spec/template/spec"),
        "a DaemonSet": ("DaemonSet", "/spec/template/spec"),
        "a Job": ("Job", "/spec/template/spec"),
        "a ReplicationController": ("ReplicationController", "/spec/template/spec"),
        "a CronJob": ("CronJob", "/spec/jobTemplate/spec/template/spec"),
        "a PodTemplate": ("PodTemplate", "/template/spec"),
    },
)
def test_all_nine_kinds_are_decoded(kind: str, pointer: str) -> None:
    """The pointer leads to the Pod spec in the object as it was received."""
    obj = minimal() if kind == "Pod" else within(kind, minimal())
    found = workload(obj)
    assert (found.kind, found.pointer, found.name, found.is_pod) == (kind, pointer, "web", kind == "Pod")
    place: Any = obj
    for step in pointer.strip("/").split("/"):
        place = place[step]
    assert place == minimal()["spec"]
    assert first(found).container.image == minimal()["spec"]["containers"][0]["image"]


def test_there_are_eight_kinds_of_template() -> None:
    """The ones that Kubernetes itself has."""
    assert len(set(TEMPLATE_KINDS)) == 8


@table(
    ("kind", "raw"),
    {
        "a Service": ("Service", {"metadata": {}, "spec": {}}),
        "a Pod without a spec": ("Pod", {"metadata": {}}),
        "a Pod whose spec is null": ("Pod", {"metadata": {}, "spec": None}),
        "a Deployment without a spec": ("Deployment", {"metadata": {}}),
        "a ReplicationController without a template": ("ReplicationController", {"spec": {"template": None}}),
        "a template without a spec": ("Job", {"spec": {"template": {}}}),
        "a CronJob without a spec": ("CronJob", {}),
        "a CronJob without a jobTemplate": ("CronJob", {"spec": {}}),
        "a CronJob whose jobTemplate has no spec": ("CronJob", {"spec": {"jobTemplate": {}}}),
        "a PodTemplate without a template": ("PodTemplate", {}),
    },
)
def test_what_holds_no_pod_spec_is_nothing(kind: str, raw: dict[str, Any]) -> None:
    """The API server says what is wrong with it."""
    assert decode(kind, json.dumps(raw).encode()) is None


@table(
    ("kind", "raw"),
    {
        "no metadata": ("Pod", b'{"spec":{}}'),
        "no object": ("Pod", b"[]"),
        "null": ("Pod", b"null"),
        "a name that is a number": ("Pod", b'{"metadata":{"name":1},"spec":{}}'),
        "containers that are text": ("Pod", b'{"metadata":{},"spec":{"containers":"x"}}'),
        "bytes that are no UTF-8": ("Deployment", b'{"metadata":{"name":"\xff"}}'),
        "deep nesting": ("Job", b'{"spec":' * 100_000),
    },
)
def test_what_the_api_server_would_never_send_is_malformed(kind: str, raw: bytes) -> None:
    """The message names the kind."""
    with pytest.raises(MalformedReview, match=f"^the {kind} in the request (is malformed: .|has no metadata$)"):
        decode(kind, raw)


@pytest.mark.parametrize("number", [2**63, 2**64, 2**70, -(2**63) - 1, -(2**70)])
@pytest.mark.parametrize(
    "field",
    [
        "securityContext.runAsUser",
        "securityContext.runAsGroup",
        "securityContext.fsGroup",
        "securityContext.supplementalGroups",
        "containers.0.securityContext.runAsUser",
        "containers.0.securityContext.runAsGroup",
    ],
)
def test_a_number_that_the_api_servers_type_does_not_hold_is_malformed(field: str, number: int) -> None:
    value = [number] if field.endswith("Groups") else number
    with pytest.raises(
        MalformedReview, match=r"the Pod in the request is malformed: .*: must be a whole number .*9223372036854775"
    ):
        decode("Pod", json.dumps(tweak(minimal(), {f"spec.{field}": value})).encode())
    volume = {"name": "v", "secret": {"defaultMode": number}}
    with pytest.raises(MalformedReview, match=r"must be a whole number .*214748364"):
        decode("Pod", json.dumps(tweak(minimal(), {"spec.volumes": [volume]})).encode())


def test_containers_of_all_lists_have_their_kind_and_pointer() -> None:
    """An init container that always restarts is a sidecar."""
    pod = tweak(
        minimal(),
        {
            "spec.initContainers": [{"name": "a"}, {"name": "b", "restartPolicy": "Always"}],
            "spec.containers.1": {"name": "second"},
            "spec.ephemeralContainers": [{"name": "d"}],
        },
    )
    assert [(slot.kind, slot.list, slot.index, slot.container.name) for slot in workload(pod).slots()] == [
        ("init", "initContainers", 0, "a"),
        ("sidecar", "initContainers", 1, "b"),
        ("regular", "containers", 0, "app"),
        ("regular", "containers", 1, "second"),
        ("ephemeral", "ephemeralContainers", 0, "d"),
    ]


@table(
    ("paths", "name"),
    {
        "a name": ({}, "web"),
        "a name that is still to be made": ({"metadata.name": None, "metadata.generateName": "web-"}, "web-"),
        "neither": ({"metadata.name": None}, ""),
    },
)
def test_a_workload_has_a_name_or_the_beginning_of_one(paths: dict[str, Any], name: str) -> None:
    """As the API server sends it before it made one up."""
    assert workload(tweak(minimal(), paths)).name == name


def test_a_templates_pods_have_the_templates_metadata() -> None:
    """Annotations of the Deployment are not the Pod's."""
    deployment = tweak(
        within("Deployment", minimal()),
        {"metadata.annotations": {"who": "holder"}, "spec.template.metadata.annotations": {"who": "pod"}},
    )
    assert workload(deployment).pod_metadata.annotations == {"who": "pod"}
    assert workload(tweak(minimal(), {"metadata.annotations": {"who": "me"}})).pod_metadata.annotations == {"who": "me"}


@table(
    ("own", "pods", "expected"),
    {
        "nobody says anything": ({}, {}, Effective(None, None, None, "image", None)),
        "the Pod's value counts": (
            {},
            {"runAsUser": 7, "runAsGroup": 8, "runAsNonRoot": True},
            Effective(7, 8, True, "pod", None),
        ),
        "the container's value wins": (
            {"runAsUser": 1, "runAsGroup": 2, "runAsNonRoot": True},
            {"runAsUser": 7, "runAsGroup": 8, "runAsNonRoot": False},
            Effective(1, 2, True, "container", None),
        ),
        "false overrides true": (
            {"runAsNonRoot": False},
            {"runAsNonRoot": True},
            Effective(None, None, False, "image", None),
        ),
        "0 overrides a number": ({"runAsUser": 0}, {"runAsUser": 7}, Effective(0, None, None, "container", None)),
        "a number overrides 0": ({"runAsUser": 7}, {"runAsUser": 0}, Effective(7, None, None, "container", None)),
        "a group of 0 is a value": ({"runAsGroup": 0}, {"runAsGroup": 8}, Effective(None, 0, None, "image", None)),
        "fields merge one by one": (
            {"runAsUser": 7},
            {"runAsNonRoot": True},
            Effective(7, None, True, "container", None),
        ),
        "the Windows name of the Pod": (
            {},
            {"windowsOptions": {"runAsUserName": "a"}},
            Effective(None, None, None, "image", "a"),
        ),
        "the Windows name of the container wins": (
            {"windowsOptions": {"runAsUserName": "b"}},
            {"windowsOptions": {"runAsUserName": "a"}},
            Effective(None, None, None, "image", "b"),
        ),
        "Windows options merge one by one": (
            {"windowsOptions": {"hostProcess": True}},
            {"windowsOptions": {"runAsUserName": "a"}},
            Effective(None, None, None, "image", "a"),
        ),
        "null is unset": ({"runAsUser": None}, {"runAsUser": 7}, Effective(7, None, None, "pod", None)),
    },
)
def test_the_effective_security_context(own: dict[str, Any], pods: dict[str, Any], expected: Effective) -> None:
    """Kubernetes pkg/securitycontext/util.go: per field, the container over the Pod."""
    pod = minimal()
    pod["spec"]["securityContext"] = pods
    pod["spec"]["containers"][0]["securityContext"] = own
    found = workload(pod)
    assert effective(first(found).container, found.context) == expected


def test_without_any_security_context_nothing_is_set() -> None:
    """Absent objects are empty ones."""
    found = workload()
    assert effective(first(found).container, found.context) == Effective(None, None, None, "image", None)
