"""A shape has all that can change a response, and nothing else."""

from typing import Any

import msgspec
import pytest

from tests.support.pods import IMAGE, Object, minimal, tweak, within, workload
from tests.unit.admission.keys import LISTS, decoded
from webhook.admission.shape import NAMES_LIMIT, Shape, named, parts, shape_of
from webhook.workload import podspec
from webhook.workload.annotations import ANNOTATION
from webhook.workload.workload import Workload

METADATA = ("name", "generate_name", "namespace", "uid", "owner_references", "deletion_timestamp")  # is not evaluated
DEBUGGED: Object = {"spec.ephemeralContainers": [{"name": "debugger", "image": IMAGE, "targetContainerName": "app"}]}
TOKEN: Object = {"projected": {"sources": []}}


def _key(pod: Workload) -> bytes:
    return _shape(pod).key


def _shape(pod: Workload | Object) -> Shape:
    found = shape_of("validate", "default", pod if isinstance(pod, Workload) else workload(pod))
    assert found is not None
    return found


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param({"spec.containers.0.name": "No-Label"}, id="a name that is none"),
        pytest.param({"spec.containers.0.name": "longer"}, id="the length of its name"),
        pytest.param({"spec.containers.0.command": ["x"]}, id="a command"),
        pytest.param({"spec.containers.0.args": ["x"]}, id="arguments"),
        pytest.param({"spec.containers.0.image": "registry.example/other:1"}, id="image"),
        pytest.param({"spec.containers.0.imagePullPolicy": "Always"}, id="pull policy"),
        pytest.param({"spec.containers.0.securityContext.privileged": True}, id="privileged"),
        pytest.param({"spec.containers.0.securityContext.capabilities": {"add": ["SYS_ADMIN"]}}, id="capabilities"),
        pytest.param({"spec.containers.1": {"name": "b", "image": IMAGE}}, id="another container"),
        pytest.param({"spec.initContainers.0": {"name": "b", "image": IMAGE}}, id="an init container"),
        pytest.param(
            {"spec.initContainers.0": {"name": "b", "image": IMAGE, "restartPolicy": "Always"}}, id="a sidecar"
        ),
        pytest.param({"spec.securityContext.fsGroup": 1}, id="group of volumes"),
        pytest.param({"spec.nodeSelector": {"kubernetes.io/arch": "arm64"}}, id="architecture"),
        pytest.param({"spec.imagePullSecrets": [{"name": "s"}]}, id="pull secret"),
        pytest.param({"spec.serviceAccountName": "robot"}, id="service account"),
        pytest.param({"spec.hostUsers": False}, id="user namespace"),
        pytest.param({"spec.volumes": [{"name": "token", **TOKEN}]}, id="a token volume"),
        pytest.param({"metadata.annotations": {}}, id="annotations"),
        pytest.param({"metadata.annotations": {ANNOTATION: "[]"}}, id="an earlier patch"),
        pytest.param({"metadata.annotations": {"openshift.io/scc": "x"}}, id="OpenShift"),
    ],
)
def test_what_counts_makes_a_pod_another(paths: dict[str, Any]) -> None:
    """Each of these alone."""
    assert _key(workload(tweak(minimal(), paths))) != _key(workload())


def test_a_field_of_a_pod_is_in_the_key_unless_evaluation_never_sees_it() -> None:
    """A new field is in the key and is evaluated; one of the metadata is neither, until it is named here."""
    pod = podspec.PodSpec(containers=(podspec.Container(),))
    dropped: dict[str, Any] = dict.fromkeys(METADATA, "x")
    kept = _shape(Workload("Pod", podspec.Metadata(**dropped), pod)).pod(nameless=True)
    assert kept.metadata == podspec.Metadata(annotations=None)
    assert decoded(_key(kept)) == ("validate", "default", kept, [])
    assert set(podspec.Metadata.__struct_fields__) == {*METADATA, "annotations"}
    assert set(Workload.__struct_fields__) == {"kind", "metadata", "spec", "pointer", "template_metadata"}
    for name in set(podspec.PodSpec.__struct_fields__) - {*LISTS, "volumes", "node_selector"}:
        other = Workload("Pod", podspec.Metadata(), msgspec.structs.replace(pod, **{name: ("x",)}))
        assert _key(other) != _key(kept), name
    for name in set(podspec.Container.__struct_fields__) - {"volume_mounts"}:  # of a container without a name
        container = msgspec.structs.replace(podspec.Container(), **{name: "X" if name == "name" else ("x",)})
        other = Workload("Pod", podspec.Metadata(), podspec.PodSpec(containers=(container,)))
        assert _key(other) != _key(kept), name


@pytest.mark.parametrize("kind", ["persistentVolumeClaim", "ephemeral", "csi"])
def test_a_pod_with_a_volume_that_findings_name_is_like_no_other(kind: str) -> None:
    """They name its mounts, too."""
    assert (
        shape_of("validate", "default", workload(tweak(minimal(), {"spec.volumes": [{"name": "data", kind: {}}]})))
        is None
    )


@pytest.mark.parametrize(
    ("uid", "own", "alike"),
    [(1, None, True), (1, 1, True), (1, 2, False), (None, None, False), (None, 1, False)],
)
def test_an_empty_dir_is_left_out_where_all_containers_have_one_user(
    uid: int | None, own: int | None, alike: bool
) -> None:
    """Of whose volume nothing is said."""
    paths: Object = {
        "spec.securityContext": {"runAsUser": uid} if uid else {},
        "spec.containers.0.securityContext": {"runAsUser": own} if own else {},
        "spec.volumes": [{"name": "data", "emptyDir": {}}],
    }
    found = _shape(tweak(minimal(), paths)).pod(nameless=True)
    assert [each.name for each in found.spec.volumes or ()] == ([] if alike else ["data"])


def test_a_mount_is_part_of_a_pod_for_it_may_be_the_working_directory() -> None:
    keys = [
        _key(workload(tweak(minimal(), {"spec.containers.0.volumeMounts": [{"name": "data", "mountPath": path}]})))
        for path in ("/app", "/data")
    ]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("kind", ["secret", "configMap"])
@pytest.mark.parametrize(("mode", "alike"), [(0o444, True), (0o604, True), (0o440, False), (0o441, False)])
def test_a_volume_that_not_everybody_may_read_is_like_no_other(kind: str, mode: int, alike: bool) -> None:
    volumes = [{"name": "data", kind: {"defaultMode": mode}}]
    pod = workload(tweak(minimal(), {"spec.volumes": volumes}))
    assert (shape_of("validate", "default", pod) is not None) == alike


@pytest.mark.parametrize("name", ["containers", "initContainers", "ephemeralContainers"])
def test_where_a_token_is_mounted_makes_no_pod_another(name: str) -> None:
    """In none of its containers, each of which counts."""
    one = {"name": "a", "image": IMAGE}
    mount = {"name": "kube-api-access-x2k9p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    others = [{"name": each, "mountPath": f"/{each}"} for each in ("a", "b")]
    for before in ([], others):
        pods = ({**one, "volumeMounts": mounts} if mounts else one for mounts in (before, [*before, mount]))
        plain, same = (_key(workload(tweak(minimal(), {f"spec.{name}": [each]}))) for each in pods)
        assert plain == same != _key(workload())


def test_a_key_points_where_its_pod_does_and_can_be_looked_up() -> None:
    selectors = ({"a": "b", "c": "d"}, {"c": "d", "a": "b"})
    pods = [workload(tweak(minimal(), {"spec.nodeSelector": each})) for each in selectors]
    assert len(set(map(_key, pods))) == 1
    pods.append(workload(within("Deployment", minimal())))
    assert [_shape(each).pod(nameless=True).pointer for each in pods] == [each.pointer for each in pods]


def pod(*names: str, init: tuple[str, ...] = (), **container: Any) -> Object:
    """A Pod with such containers, all of one image."""
    lists = {"containers": names, "initContainers": init}
    found = {f"spec.{each}": [{"name": name, "image": IMAGE, **container} for name in lists[each]] for each in lists}
    return tweak(minimal(), found)


def earlier(name: str, record: str) -> Object:
    """A Pod that was patched before."""
    return tweak(pod(name), {"metadata.annotations": {ANNOTATION: record}})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pod("app"), pod("web")),
        (pod("a", "b", init=("c",)), pod("b", "c", init=("a",))),
        (pod("app", command=["sh", "-c", "make 1"]), pod("app", command=["make"])),
        (pod("app", args=["--all"]), pod("web", args=["--none", "-v"])),
        (pod("app", workingDir="/srv"), pod("app", workingDir="/app")),
        (
            earlier("app", '[{"container":"app","fields":["x"]}]'),
            earlier("web", '[{"container":"web","fields":["x"]}]'),
        ),
    ],
)
def test_pods_of_a_pipeline_have_one_shape(one: Object, other: Object) -> None:
    """What differs is the names of containers, command lines and the working directory."""
    found, same = _shape(one), _shape(other)
    assert found.key == same.key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pod("a", "b", command=["x"]), pod("a", "b", args=["x"])),
        (pod("a", init=("b",), command=["chown"]), pod("a", init=("b",), command=["true"])),
        (pod("a", "a", "b"), pod("a", "b", "b")),
        (earlier("app", '[{"container": "app"}]'), earlier("web", '[{"container": "web"}]')),
        (earlier("app", '[{"container":"web"}]'), earlier("web", '[{"container":"app"}]')),
        (tweak(pod("app"), DEBUGGED), tweak(pod("web"), DEBUGGED)),
        (pod("istio-proxy", image="x/proxyv2"), pod("a-container", image="x/proxyv2")),
        (pod(*map(str, range(10, 10 + NAMES_LIMIT + 1))), pod(*map(str, range(11, 11 + NAMES_LIMIT + 1)))),
    ],
    ids=["which of the two", "init", "twice", "a foreign record", "of another", "debugged", "an injector", "too many"],
)
def test_what_a_name_or_a_command_line_says_makes_a_pod_another(one: Object, other: Object) -> None:
    assert _key(workload(one)) != _key(workload(other))


def test_a_text_about_the_pod_has_the_names_again_also_where_it_is_cut() -> None:
    found = _shape(pod("web", "a-sidecar", init=("b",)))
    init, web, sidecar = (each.container.name for each in found.pod(nameless=True).slots())
    assert [len(each) for each in (init, web, sidecar)] == [1, 3, 9]
    assert not {"web", "a-sidecar", "b"} & {init, web, sidecar}
    text = f'container "{web}" and {sidecar}, {init}: {web}{web[:2]}{sidecar[:4]}…'
    assert named(parts(text, found.names), found.names) == 'container "web" and a-sidecar, b: webwea-si…'
    assert parts(text, ()) == (text,)


@pytest.mark.parametrize("hook", ["mutate", "validate"])
def test_a_pod_with_such_characters_of_its_own_keeps_its_names(hook: str) -> None:
    """Else a part of its own texts would be taken for a name."""
    stand_in = next(_shape(pod("web")).pod(nameless=True).slots()).container.name
    found = shape_of(hook, "default", workload(tweak(pod("web"), {"spec.containers.0.image": f"x/{stand_in}"})))
    assert found is not None
    assert found.names == ()
    assert [each.container.name for each in found.pod(nameless=True).slots()] == ["web"]
