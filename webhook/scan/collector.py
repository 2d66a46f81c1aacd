"""The collector of a scan: it lists the policies, workloads and Pods of a cluster, and writes nothing.

Whoever scans may not be allowed to read everything: what is refused is said, and the rest is scanned.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import TypeVar
from urllib.parse import quote

import msgspec

from webhook.cluster import image_identities
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent, Forbidden
from webhook.cluster.object_meta import Labelled, ObjectMeta
from webhook.errors import InvalidSetting
from webhook.image.config import Platform, normalise_platform
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import Observation
from webhook.policy.cache import StoredObject, accept, in_force
from webhook.policy.selection import Namespace
from webhook.policy.types import API_VERSION, Documents
from webhook.scan import coverage
from webhook.scan.coverage import Coverage
from webhook.scan.document import Skip
from webhook.scan.inventory import Inventory
from webhook.scan.inventory_item import InventoryItem
from webhook.workload.container_status import Start
from webhook.workload.storage import DEFAULT_CLASS, Storage

# Every kind that makes Pods, with API version and resource; first those that hand Pods on to what made them.
_BETWEEN = (("ReplicaSet", "apps/v1", "replicasets"), ("Job", "batch/v1", "jobs"))
_TEMPLATES = (
    ("Deployment", "apps/v1", "deployments"),
    ("StatefulSet", "apps/v1", "statefulsets"),
    ("DaemonSet", "apps/v1", "daemonsets"),
    ("CronJob", "batch/v1", "cronjobs"),
    ("ReplicationController", "v1", "replicationcontrollers"),
)
KINDS = (("Pod", "v1", "pods"), *_BETWEEN, *_TEMPLATES)
"""Whatever is a workload or belongs to one: its kind, API version and resource."""

# kubernetes/apimachinery pkg/util/validation/validation.go, IsDNS1123Label
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

T = TypeVar("T")

Accounts = Mapping[tuple[str, str], tuple[str, ...]]
"""By namespace and name, the pull secrets that a ServiceAccount gives to Pods without any."""


class _Named(msgspec.Struct):
    name: str = ""


class _Namespace(msgspec.Struct):
    metadata: Labelled


class _Account(msgspec.Struct, rename="camel"):
    metadata: ObjectMeta
    image_pull_secrets: tuple[_Named, ...] | None = None


class _DriverSpec(msgspec.Struct, rename={"fs_group_policy": "fsGroupPolicy"}, frozen=True):
    fs_group_policy: str = ""


class _Driver(msgspec.Struct):
    metadata: ObjectMeta
    spec: _DriverSpec = _DriverSpec()


class _ClassAnnotations(msgspec.Struct, frozen=True):
    is_default: str = msgspec.field(default="", name="storageclass.kubernetes.io/is-default-class")


class _ClassMetadata(msgspec.Struct):
    name: str
    annotations: _ClassAnnotations = _ClassAnnotations()


class _Class(msgspec.Struct):
    metadata: _ClassMetadata
    provisioner: str = ""


class _ClaimSpec(msgspec.Struct, rename="camel", frozen=True):
    storage_class_name: str = ""


class _Claim(msgspec.Struct):
    metadata: ObjectMeta
    spec: _ClaimSpec = _ClaimSpec()


class _NodeInfo(msgspec.Struct, rename="camel"):
    operating_system: str = ""
    architecture: str = ""


class _NodeStatus(msgspec.Struct, rename="camel"):
    node_info: _NodeInfo = msgspec.field(default_factory=_NodeInfo)


class _Node(msgspec.Struct):
    metadata: ObjectMeta
    status: _NodeStatus


class Reader:
    """Reads some namespaces of a cluster, all of them where none is named. Its methods raise `ClusterError`.

    `skipped` is what could not be read; where that is the policies, `policies_read` is false. `observations` is what the Pods
    have taught of images, on `nodes` of `platforms`, `uses` which digests there are of which image, and `unpatched` what runs
    without any field that was injected; they are there before `workloads` gives the first workload.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespaces: tuple[str, ...] = (),
        hooks: str = "",
        *,
        nodes: Mapping[str, Platform] | None = None,
        renewing: bool = False,
    ) -> None:
        """`hooks` is the ValidatingWebhookConfiguration that is ours, for somebody who may read it but list none.

        Nodes whose platforms are known need not be listed again. Whoever is `renewing` what was scanned before may find that
        a namespace is gone, and has no workloads; labels that he may not read are an error, for the mode would be a guess.
        `InvalidSetting` for a name that no namespace can have.
        """
        for name in namespaces:
            if not _NAMESPACE.fullmatch(name):
                raise InvalidSetting(f"no namespace can be called {name[:100]!a}; give its name as kubectl shows it")
        self._cluster = cluster
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._hooks = hooks
        self._renewing = renewing
        self.nodes = nodes or {}
        self.skipped: list[Skip] = []
        self.observations: set[Observation] = set()
        self.uses: set[tuple[str, str]] = set()
        self.unpatched: set[Start] = set()
        self.platforms: tuple[Platform, ...] = ()
        self.policies_read = True
        self._labels_read: set[str] = set()

    async def namespaces(self) -> list[Namespace]:
        """The namespaces; of one that may not be read only the name is known."""
        if not self._namespaces:
            every = [_namespace(raw) async for raw in self._list("/api/v1", "namespaces", "Namespaces")]
            self._labels_read.update(each.name for each in every)
            return every
        found: list[Namespace] = []
        for name in self._namespaces:
            try:
                body = await self._cluster.call("GET", f"/api/v1/namespaces/{name}", f"Namespace {name}")
                found.append(_namespace(body or b""))
                self._labels_read.add(name)
            except Absent:
                if not self._renewing:
                    raise
            except Forbidden as error:
                if self._renewing:
                    raise
                self._forbidden(f"labels of Namespace {name}", error)
                found.append(Namespace(name))
        return found

    def labels_read(self, namespace: str) -> bool:
        """Whether the labels of a namespace are known, which choose its policy and mode."""
        return namespace in self._labels_read

    async def documents(self) -> Documents:
        """The policies and exceptions. Where our kinds are not installed there are none."""
        stored: list[StoredObject] = []
        base = f"/apis/{API_VERSION}"
        for resource, kind, everywhere in (
            ("nonrootpolicies", "NonRootPolicy", True),
            ("nonrootexceptions", "NonRootException", False),
        ):
            refused = len(self.skipped)
            async for raw in self._list(base, resource, f"{kind} objects", everywhere=everywhere, optional=True):
                body = {"apiVersion": API_VERSION, "kind": kind, **msgspec.json.decode(raw)}
                stored.append(accept(body))
            if everywhere:
                self.policies_read = len(self.skipped) == refused
        self.skipped += [Skip(each.name, each.problem) for each in stored if each.problem]
        return in_force(stored)

    async def coverage(self) -> Coverage:
        """The namespaces whose Pods admission gets to see: as it is installed, or would be where that is not known."""
        try:
            return await read_coverage(self._cluster, self._hooks)
        except Forbidden as error:
            self._forbidden("ValidatingWebhookConfigurations, taken to be as the chart installs them", error)
            return coverage.DEFAULT

    async def accounts(self) -> Accounts | None:
        """The accounts that give pull secrets; None where they cannot be listed, but perhaps read."""
        accounts: dict[tuple[str, str], tuple[str, ...]] = {}
        try:
            for path, _ in self._paths("/api/v1", "serviceaccounts"):
                async for raw in self._objects(path, "ServiceAccounts"):
                    found = msgspec.json.decode(raw, type=_Account)
                    names = tuple(each.name for each in found.image_pull_secrets or () if each.name)
                    if names:
                        accounts[found.metadata.namespace, found.metadata.name] = names
        except Forbidden:
            return None
        return accounts

    async def storage(self) -> Storage:
        """The storage of the cluster, as far as it may be read."""
        base = "/apis/storage.k8s.io/v1"
        policies = {
            each.metadata.name: each.spec.fs_group_policy
            for each in await self._readable(f"{base}/csidrivers", "CSIDrivers", _Driver)
        }
        provisioners = {}
        for each in await self._readable(f"{base}/storageclasses", "StorageClasses", _Class):
            provisioners[each.metadata.name] = each.provisioner
            if each.metadata.annotations.is_default == "true":
                provisioners[DEFAULT_CLASS] = each.provisioner
        claims = {
            (each.metadata.namespace, each.metadata.name): each.spec.storage_class_name
            for path, _ in self._paths("/api/v1", "persistentvolumeclaims")
            for each in await self._readable(path, "PersistentVolumeClaims", _Claim)
        }
        return Storage(policies, provisioners, claims)

    async def _readable(self, path: str, what: str, kind: type[T]) -> list[T]:
        """The objects at a path; none where they may not be read, or there is no such kind."""
        found: list[T] = []
        with contextlib.suppress(Forbidden, Absent):
            found.extend([msgspec.json.decode(raw, type=kind) async for raw in self._objects(path, what)])
        return found

    async def identities(self) -> IdentityIndex:
        """The stored image identities; none where they may not be read."""
        known = IdentityIndex()
        try:
            async for each in image_identities.listed(self._cluster):
                known.update(each.name, each)
        except (Absent, Forbidden):
            return known
        return known

    async def workloads(self) -> AsyncIterator[InventoryItem]:
        """Every workload: those with templates as they are listed, those of which only Pods are known at the end."""
        if not self.nodes:
            self.nodes = await self._nodes()
        self.platforms = tuple(sorted(set(self.nodes.values()), key=str))
        inventory = Inventory(self.nodes)
        async for raw in self._list("/api/v1", "pods", "Pods"):
            inventory.pod(raw)
        self.observations, self.uses, self.unpatched = inventory.observations, inventory.uses, inventory.unpatched
        for kinds, take in ((_BETWEEN, inventory.between), (_TEMPLATES, inventory.template)):
            for kind, version, resource in kinds:
                async for raw in self._list(base(version), resource, f"{kind}s"):
                    found = take(version, kind, raw)
                    if found is not None:
                        yield found
        for found in inventory.rest():
            yield found
        self.skipped += inventory.skipped

    async def _nodes(self) -> dict[str, Platform]:
        """The platform of each node; of none where nodes may not be listed, and then Pods teach nothing."""
        nodes: dict[str, Platform] = {}
        try:
            async for raw in self._objects("/api/v1/nodes", "Nodes"):
                node = msgspec.json.decode(raw, type=_Node)
                info = node.status.node_info
                nodes[node.metadata.name] = normalise_platform(info.operating_system, info.architecture)
        except Forbidden:
            return {}
        return nodes

    async def _list(
        self, base: str, resource: str, what: str, *, everywhere: bool = False, optional: bool = False
    ) -> AsyncIterator[msgspec.Raw]:
        """The objects of a resource, of our namespaces unless it is to be `everywhere`.

        What is forbidden, or not there though it should be, is noted, and the rest is read.
        """
        for path, namespace in self._paths(base, resource, everywhere=everywhere):
            name = f"{what} of Namespace {namespace}" if namespace else what
            try:
                async for raw in self._objects(path, what):
                    yield raw
            except Forbidden as error:
                self._forbidden(name, error)
            except Absent as error:
                if not optional:
                    self.skipped.append(Skip(name, str(error)))

    def _paths(self, base: str, resource: str, *, everywhere: bool = False) -> list[tuple[str, str]]:
        """Where the objects of a resource are listed, each with its namespace, "" for all."""
        if everywhere or not self._namespaces:
            return [(f"{base}/{resource}", "")]
        return [(f"{base}/namespaces/{name}/{resource}", name) for name in self._namespaces]

    async def _objects(self, path: str, what: str) -> AsyncIterator[msgspec.Raw]:
        async for page in self._cluster.pages(path, what):
            for raw in page:
                yield raw

    def _forbidden(self, what: str, error: Forbidden) -> None:
        self.skipped.append(Skip(what, str(error), forbidden=True))


async def read_coverage(cluster: Cluster, hooks: str) -> Coverage:
    """The coverage of the hooks of the ValidatingWebhookConfiguration of that name, or of ours where none is named.

    Where they are not there, it is what the chart would install. Raises `Forbidden` where they may not be read.
    """
    what = "ValidatingWebhookConfigurations"
    path = f"/apis/admissionregistration.k8s.io/v1/{what.lower()}"
    try:
        if hooks:
            found = [await cluster.call("GET", f"{path}/{hooks}", what) or b""]
        else:
            pages = cluster.pages(f"{path}?labelSelector={quote(coverage.PART_OF)}", what)
            found = [bytes(raw) async for page in pages for raw in page]
    except Absent:
        found = []
    return coverage.read(found) or coverage.DEFAULT


def base(version: str) -> str:
    """The path below which an API version has its resources."""
    return "/api/v1" if version == "v1" else f"/apis/{version}"


def _namespace(raw: bytes | msgspec.Raw) -> Namespace:
    metadata = msgspec.json.decode(raw, type=_Namespace).metadata
    return Namespace(metadata.name, metadata.labels or {})
