"""The product's side: verdicts, predictions and patches for cells, with a table of images instead of a registry."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import jsonpatch
import msgspec

from tests.conformance.matrix import Cell, Spec
from tests.conformance.model import Files, Ran
from webhook.evaluation import kubelet
from webhook.evaluation.evaluator import evaluate
from webhook.evaluation.patch import operations
from webhook.evaluation.verdict import ContainerVerdict, Verdict
from webhook.image import user as identity
from webhook.image.config import parse_config
from webhook.image.passwd import AccountFiles
from webhook.image.source import Image, Images, PlatformImage, Query, Unknown
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import Metadata, NonRootPolicy, PolicySpec
from webhook.workload.podspec import Container, PodSecurityContext, SecurityContext
from webhook.workload.workload import Effective, Workload, decode, effective

ENFORCE = EffectivePolicy(NonRootPolicy(Metadata("matrix"), PolicySpec(mode="Enforce")), "Enforce", "the matrix")
LISTS = {
    "regular": "containers",
    "init": "initContainers",
    "sidecar": "initContainers",
    "ephemeral": "ephemeralContainers",
}
NOW = datetime(2026, 1, 1, tzinfo=UTC)

Json = dict[str, Any]


def image(user: str | None, files: Files, *, accounts: bool = False) -> Image:
    """What a registry would tell: the account files only where a name, or the question, needs them."""
    config = parse_config(json.dumps({"os": "linux", "architecture": "amd64", "config": {"User": user}}).encode())
    needed = accounts or bool(config.user.name)
    return Image(
        "sha256:0", (PlatformImage(config, accounts=AccountFiles(files.passwd, files.group) if needed else None),)
    )


class Table(Images):
    """Images by reference, or why they could not be read."""

    def __init__(self, images: Mapping[str, Image | Unknown]) -> None:
        self.images = images

    async def find(self, query: Query) -> Image | Unknown:
        """The image, which must be there."""
        return self.images[query.reference]


def workload(pod: Json) -> Workload:
    """A Pod as the webhook decodes it."""
    decoded = decode("Pod", msgspec.json.encode(pod))
    assert decoded is not None
    return decoded


async def verdict(pod: Workload, images: Images) -> Verdict:
    """The verdict on every container of a Pod, under a policy that enforces, injects and refuses root."""
    return await evaluate(pod, ENFORCE, images, namespace="matrix", budget=3.0, now=NOW)


async def single(cell: Cell, reference: str, images: Images) -> ContainerVerdict:
    """The verdict on one cell in a Pod of its own."""
    spec = (cell.demand, cell.run_as, cell.groups, cell.kind)
    return (await verdict(workload(_pod({"cell": spec}, reference)), images)).containers[0]


async def patched(pod: Json, images: Images) -> Json:
    """The Pod with our patch applied; a second one must have nothing to add."""
    before = workload(pod)
    result: Json = jsonpatch.apply_patch(pod, operations(await verdict(before, images), before))
    after = workload(result)
    assert operations(await verdict(after, images), after) == []
    return result


def pods(specs: Iterable[Spec], reference: str) -> list[tuple[Workload, dict[str, Spec]]]:
    """A Pod for each securityContext of Pods, with a container for each spec, and the specs by container name."""
    named = {f"c{index}": spec for index, spec in enumerate(specs)}
    by_context: dict[str, dict[str, Spec]] = {}
    for name, spec in named.items():
        by_context.setdefault(str(Cell(None, "", *spec).pod_context), {})[name] = spec
    return [(workload(_pod(group, reference)), group) for group in by_context.values()]


def _pod(specs: Mapping[str, Spec], reference: str) -> Json:
    lists: dict[str, list[Json]] = {"initContainers": [], "containers": [], "ephemeralContainers": []}
    for name, spec in specs.items():
        cell = Cell(None, "", *spec)
        container: Json = {"name": name, "image": reference, "securityContext": cell.container_context}
        if cell.kind == "sidecar":
            container["restartPolicy"] = "Always"
        lists[LISTS[cell.kind]].append(container)
    return {"metadata": {"name": "matrix"}, "spec": {"securityContext": cell.pod_context, **lists}}


def prediction(cell: Cell) -> str | Ran | None:
    """The kubelet's complaint, or who the process will be; None where nobody can be."""
    asked = _effective(cell)
    config = image(cell.user, cell.files, accounts=True).platforms[0]
    complaint = kubelet.refusal(asked, config.config.user, "linux")
    if complaint:
        return complaint
    user = config.config.user
    if asked.run_as_user is not None:
        user = parse_config(b'{"config":{"User":"%d"}}' % asked.run_as_user).user
    found = identity.resolve(user, config.accounts)
    if not isinstance(found, identity.Identity):
        return None
    assert found.gid is not None
    assert found.groups is not None
    assert found.home is not None
    return _under_spec(cell, asked, found.uid, found.gid, found.groups, found.home)


def _under_spec(cell: Cell, asked: Effective, uid: int, primary: int, groups: tuple[int, ...], home: str) -> Ran:
    """The identity of the image's user with what the spec says of groups, which `webhook.image.user` leaves to others."""
    gid = primary if asked.run_as_group is None else asked.run_as_group
    listed = set() if cell.groups.strict else set(groups) - ({primary} if asked.run_as_group is not None else set())
    return Ran(uid, gid, tuple(sorted({gid, *listed, *cell.groups.extra})), home)


def _effective(cell: Cell) -> Effective:
    container = Container(security_context=msgspec.convert(cell.container_context, SecurityContext))
    return effective(container, msgspec.convert(cell.pod_context, PodSecurityContext))
