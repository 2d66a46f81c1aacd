"""Thousands of generated Pods through the real API server: every patch applies, nothing explicit changes, once is enough.

The namespace enforces Kubernetes' own Pod Security `restricted` beside us. A Pod that we let through is admitted, or that
plugin refuses it for a field which is not ours to set. Everything is a server-side dry run: the whole admission chain, no Pod.
"""

import copy
import itertools
import json
import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from deploy.dev.images.build import Pushed
from tests.e2e.target import Target
from tests.support.api_server import Object, Refused

pytestmark = pytest.mark.e2e

WANTED = 2000
SEED = 20261121
OURS = {"runAsUser", "runAsGroup", "runAsNonRoot", "allowPrivilegeEscalation", "capabilities", "seccompProfile"}


def _context(random_: random.Random, *, pod: bool) -> dict[str, Any] | None:
    """A security context with any subset of fields, valid or nearly so."""
    if random_.random() < 0.35:
        return None
    choices: dict[str, list[Any]] = {
        "runAsUser": [1000, 1001, 70000, 0],
        "runAsGroup": [1000, 0, 3000],
        "runAsNonRoot": [True, True, False],
        "seccompProfile": [
            {"type": "RuntimeDefault"},
            {"type": "Unconfined"},
            {"type": "Localhost", "localhostProfile": "a.json"},
        ],
    }
    if pod:
        choices |= {"fsGroup": [2000], "supplementalGroups": [[3000]], "supplementalGroupsPolicy": ["Merge", "Strict"]}
    else:
        choices |= {
            "privileged": [True, False],
            "allowPrivilegeEscalation": [True, False],
            "readOnlyRootFilesystem": [True],
            "capabilities": [
                {},
                {"drop": ["ALL"]},
                {"drop": ["NET_RAW"]},
                {"add": ["NET_BIND_SERVICE"]},
                {"add": ["SYS_ADMIN"]},
                {"add": ["CAP_SYS_ADMIN"]},
                {"add": ["CHOWN"], "drop": ["ALL"]},
            ],
        }
    return {name: random_.choice(values) for name, values in choices.items() if random_.random() < 0.2}


def _pod(random_: random.Random, number: int, images: list[str]) -> dict[str, Any]:
    def container(name: str, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"name": name, "image": random_.choice(images), **more}
        context = _context(random_, pod=False)
        return made if context is None else {**made, "securityContext": context}

    spec: dict[str, Any] = {"containers": [container(f"c{index}") for index in range(random_.choice((1, 1, 1, 2, 4)))]}
    if random_.random() < 0.3:
        kinds: list[dict[str, Any]] = [{}, {"restartPolicy": "Always"}]
        spec["initContainers"] = [
            container(f"i{index}", **random_.choice(kinds)) for index in range(random_.choice((1, 2)))
        ]
    context = _context(random_, pod=True)
    if context is not None:
        spec["securityContext"] = context
    if random_.random() < 0.05:
        spec["hostUsers"] = False
    if random_.random() < 0.05:
        spec["hostNetwork"] = True
    if random_.random() < 0.1:
        spec["os"] = {"name": random_.choice(("linux", "windows"))}
    if random_.random() < 0.1:
        spec["volumes"] = [{"name": "v", "emptyDir": {}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    metadata: dict[str, Any] = {"generateName": f"g{number}-"} if random_.random() < 0.2 else {"name": f"p{number}"}
    if random_.random() < 0.2:
        metadata["annotations"] = random_.choice(({}, {"team": "a/b~c"}, {"nonroot.dev/injected": "not ours"}))
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _create(target: Target, namespace: str, pod: Object) -> tuple[int, Object]:
    """The status code of a server-side dry run, and the Pod as it would be stored or the API server's refusal."""
    try:
        return 201, target.api.create(pod, namespace, dry_run=True).object
    except Refused as refused:
        own = [line for line in str(refused).splitlines() if not line.startswith("Warning: ")]
        return refused.status, {"message": "\n".join(own)}


def _explicit(pod: dict[str, Any]) -> dict[tuple[Any, ...], Any]:
    """Every security context field that the author set, by where it stands."""
    found: dict[tuple[Any, ...], Any] = {}
    for name, value in (pod["spec"].get("securityContext") or {}).items():
        found[("pod", name)] = value
    for kind in ("initContainers", "containers"):
        for index, each in enumerate(pod["spec"].get(kind, [])):
            for name, value in (each.get("securityContext") or {}).items():
                found[(kind, index, name)] = value
    return found


def _contexts(pod: dict[str, Any]) -> list[Any]:
    kinds = ("initContainers", "containers")
    return [[each.get("securityContext") for each in pod["spec"].get(kind, [])] for kind in kinds]


def _authors_own(pod: dict[str, Any]) -> set[str]:
    """The reasons of Pod Security that the author caused by an explicit value, or by what no security context can cure."""
    spec = pod["spec"]
    containers = [
        each.get("securityContext") or {} for kind in ("initContainers", "containers") for each in spec.get(kind, [])
    ]
    levels = [spec.get("securityContext") or {}, *containers]
    reasons = set()
    if any(each.get("privileged") for each in containers):
        reasons |= {"privileged", "allowPrivilegeEscalation != false", "unrestricted capabilities", "seccompProfile"}
    if any(each.get("runAsUser") == 0 for each in levels):
        reasons |= {"runAsUser=0"}
    if spec.get("hostNetwork"):
        reasons |= {"host namespaces"}
    if any(each.get("capabilities") for each in containers):
        reasons |= {"unrestricted capabilities", "non-default capabilities"}
    if any(
        each.get("allowPrivilegeEscalation")
        or {"SYS_ADMIN", "CAP_SYS_ADMIN"} & set((each.get("capabilities") or {}).get("add", ()))
        for each in containers
    ):
        reasons |= {"allowPrivilegeEscalation != false"}
    if any(each.get("seccompProfile", {}).get("type") == "Unconfined" for each in levels):
        reasons |= {"seccompProfile"}
    if any(each.get("runAsNonRoot") is False for each in levels):
        reasons |= {"runAsNonRoot != true"}
    if "runAsGroup" in levels[0] and "runAsUser" not in levels[0]:
        # It cannot start, so it is warned of and not patched; /validate is not called where every uid is explicit.
        reasons |= {
            "allowPrivilegeEscalation != false",
            "unrestricted capabilities",
            "seccompProfile",
            "runAsNonRoot != true",
        }
    if spec.get("os") == {"name": "windows"}:  # nothing is injected there, and Pod Security asks for this field even so
        reasons |= {"runAsNonRoot != true"}
    return reasons


class Namespaces(NamedTuple):
    """The same Pod is sent to each: no evaluation at all, ours alone, ours beside Pod Security."""

    bare: str
    ours: str
    both: str


def _check(target: Target, namespaces: Namespaces, pod: dict[str, Any]) -> tuple[str, str]:
    """The class of one Pod's outcome, and what is wrong with it (nothing, if all is well)."""
    if _create(target, namespaces.bare, pod)[0] == 422:
        return "invalid in itself", ""
    status, answer = _create(target, namespaces.ours, pod)
    if status == 403 and "admission webhook" in answer["message"] and "policy " in answer["message"]:
        return "refused by us", ""
    if status != 201:
        return f"status {status}", json.dumps(answer)[:500]
    fault = _changed(pod, answer) or _second_pass(target, namespaces.ours, answer)
    if fault:
        return "admitted", fault
    status, answer = _create(target, namespaces.both, pod)
    if status == 201:
        return "admitted", ""
    if status != 403 or "violates PodSecurity" not in answer["message"]:
        return f"status {status} beside Pod Security", json.dumps(answer)[:500]
    reasons = set(re.findall(r"(?:: |\), )([a-zA-Z][a-zA-Z0-9 !=-]*) \(", answer["message"]))
    unexplained = reasons - _authors_own(pod)
    return (
        "refused by Pod Security alone",
        f"not the author's: {unexplained or answer['message']}" if unexplained or not reasons else "",
    )


def _changed(pod: dict[str, Any], admitted: dict[str, Any]) -> str:
    before, after = _explicit(pod), _explicit(admitted)
    missing = {key: value for key, value in before.items() if value not in ({}, []) and after.get(key) != value}
    if missing:
        return f"explicit values changed: {missing}"
    strange = {
        key: value for key, value in after.items() if key not in before and (key[0] == "pod" or key[-1] not in OURS)
    }
    return f"fields that are not ours: {strange}" if strange else ""


def _second_pass(target: Target, namespace: str, admitted: dict[str, Any]) -> str:
    again = copy.deepcopy(admitted)
    for name in ("uid", "creationTimestamp", "resourceVersion", "managedFields", "namespace"):
        again["metadata"].pop(name, None)
    again["metadata"].setdefault("name", "again")
    status, second = _create(target, namespace, again)
    if status != 201:
        return f"the second pass was refused: {json.dumps(second)[:500]}"
    same = _contexts(second) == _contexts(admitted)
    same = same and second["metadata"].get("annotations") == admitted["metadata"].get("annotations")
    return "" if same else "a second pass changed something"


def test_every_patch_applies(installed: Target, images: dict[str, Pushed], namespace: str) -> None:
    """At least WANTED valid Pods, 0 failures of ours."""
    enforce = {"nonroot.dev/mode": "enforce"}
    namespaces = Namespaces(
        installed.namespace(f"{namespace}-bare", **{"nonroot.dev/mode": "audit"}),
        installed.namespace(f"{namespace}-ours", **enforce),
        installed.namespace(f"{namespace}-both", **enforce, **{"pod-security.kubernetes.io/enforce": "restricted"}),
    )
    random_ = random.Random(SEED)  # noqa: S311  # reproducible, not secret
    references = [image.reference for image in images.values()]
    pods = (_pod(random_, number, references) for number in itertools.count())
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        while sum(seen.values()) - seen["invalid in itself"] < WANTED:
            batch = list(itertools.islice(pods, 200))
            for pod, (outcome, fault) in zip(
                batch, pool.map(lambda pod: _check(installed, namespaces, pod), batch), strict=True
            ):
                seen[outcome] += 1
                if fault:
                    wrong.append(f"{fault}\n{json.dumps(pod)}")
    print(f"\n{sum(seen.values())} generated Pods: {dict(seen)}; failures of ours: {len(wrong)}")
    assert not wrong, "\n\n".join(wrong[:5])
    assert seen["admitted"] > WANTED / 20
    assert set(seen) <= {"admitted", "refused by us", "refused by Pod Security alone", "invalid in itself"}
