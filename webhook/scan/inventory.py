"""The inventory of a scan: the workloads that make Pods, each with what its Pods run as.

Pods come first and are kept by the controller that they name, once for each distinct thing that they say. Then come the
objects that stand between, a Deployment's ReplicaSets and a CronJob's Jobs, and hand their Pods on; then those with Pod
templates. What is left are Pods of nobody or of a custom resource: they stand for what cannot be read.

Only what the next Pods will have counts. A Pod or Job that has finished makes none. Of a Pod whose controller's template is
known only those containers count that its own revision did not have: somebody adds them to every Pod.
Sources: kubernetes pkg/apis/batch/types.go (JobComplete, JobFailed); pkg/controller/statefulset/stateful_set_utils.go and
pkg/controller/daemon/update.go (the labels of a Pod's revision).
"""

from collections.abc import Iterator, Mapping
from operator import itemgetter

import msgspec

from webhook.cluster.object_meta import Owned
from webhook.errors import MalformedReview
from webhook.image.config import Platform
from webhook.image.image_identity import Observation
from webhook.scan.document import Skip, Waiting
from webhook.scan.inventory_item import MESSAGE_LIMIT, InventoryItem, Key, ObservedContainer, PodVariant, Reference
from webhook.workload import container_status
from webhook.workload import workload as pod
from webhook.workload.annotations import MIRROR_ANNOTATION, OPENSHIFT_SCC
from webhook.workload.container_status import Start
from webhook.workload.podspec import Metadata, Wire
from webhook.workload.workload import Workload

VARIANTS_LIMIT = 16  # different Pods of one workload that are evaluated
OBSERVATIONS_LIMIT = 20_000  # distinct things that Pods teach
USES_LIMIT = 100_000  # distinct pairs of an image and its digest
UNPATCHED_LIMIT = 20_000  # distinct images and commands that run unpatched
OBSERVED_LIMIT = 256  # different identities that the Pods of one workload are remembered with
_FINISHED = frozenset({"Succeeded", "Failed"})
_ENDED = frozenset({"Complete", "Failed"})  # conditions of a Job that makes no more Pods
_TEMPLATED = frozenset({("apps", "Deployment"), ("batch", "CronJob")})  # those whose Pods something between makes
_REVISION_LABELS = ("controller-revision-hash", "pod-template-generation")
_GENERATION = "deprecated.daemonset.template.generation"  # annotation of a DaemonSet, still set by every version


class _Kept(msgspec.Struct):
    """The Pods of one controller, or a Pod of none."""

    reference: Reference
    pods: int = 0
    variants: dict[object, PodVariant] = {}
    observed: dict[object, ObservedContainer] = {}
    waiting: dict[tuple[str, str], Waiting] = {}
    more: bool = False
    template: tuple[str, Workload] | None = None  # of a custom resource's newest ReplicaSet, after when that was made

    def look(self, key: object, variant: PodVariant) -> None:
        """Keep what a Pod looks like, unless another one looks the same."""
        if len(self.variants) < VARIANTS_LIMIT:
            self.variants.setdefault(key, variant)
        elif key not in self.variants:
            self.more = True

    def wait(self, container: tuple[str, str], waiting: Waiting) -> None:
        """Count the Pods that do not start a container, with the reason of the first of them."""
        known = self.waiting.get(container)
        if known is not None:
            self.waiting[container] = msgspec.structs.replace(known, pods=known.pods + waiting.pods)
        elif len(self.waiting) < OBSERVED_LIMIT:
            self.waiting[container] = waiting

    def item(self, variants: tuple[PodVariant, ...]) -> "InventoryItem":
        """The workload that these Pods belong to."""
        return InventoryItem(self.reference, variants, self.pods, tuple(self.observed.values()), self.waiting)

    def observe(self, observed_container: ObservedContainer) -> None:
        """Count a sighting with those of Pods that say the same and are the same."""
        running, context = observed_container.running, observed_container.pod.workload.context
        slot = running.slot
        who = (running.uid, running.gid, running.groups, running.digest, running.effective)
        key = (slot.list, slot.container.name, slot.container.image, context, who)
        known = self.observed.get(key)
        if known is not None:
            known.pods += observed_container.pods
        elif len(self.observed) < OBSERVED_LIMIT:
            self.observed[key] = observed_container


class _ItemMeta(Owned, frozen=True, gc=False):
    labels: dict[str, str] | None = None
    creation_timestamp: str = ""


class _Spec(Wire, frozen=True, gc=False):
    node_name: str = ""


class _Status(Wire, frozen=True, gc=False):
    phase: str = ""


class _ListedItem(Wire, frozen=True, gc=False):
    metadata: _ItemMeta
    spec: _Spec | None = None
    status: _Status | None = None

    def controller(self) -> Reference | None:
        """The object that made it."""
        owner = self.metadata.controller
        if owner is None:
            return None
        return Reference(owner.api_version, owner.kind, self.metadata.namespace, owner.name, owner.uid)


class _Annotated(Wire, frozen=True, gc=False):
    annotations: dict[str, str] | None = None


class _Condition(Wire, frozen=True, gc=False):
    type: str = ""
    status: str = ""


class _ControllerStatus(Wire, frozen=True, gc=False):
    update_revision: str = ""
    conditions: tuple[_Condition, ...] | None = None


class _Controller(Wire, frozen=True, gc=False):
    """The fields that only objects with a template have: the current revision, and whether a Job has ended."""

    metadata: _Annotated = _Annotated()
    status: _ControllerStatus | None = None

    def makes(self, kind: str, labels: Mapping[str, str]) -> bool:
        """Whether a Pod with these labels is of the current revision, as far as that is known."""
        if kind == "StatefulSet":
            current, own = (
                self.status.update_revision if self.status else "",
                labels.get("controller-revision-hash", ""),
            )
        elif kind == "DaemonSet":
            current = (self.metadata.annotations or {}).get(_GENERATION, "")
            own = labels.get("pod-template-generation", "")
        else:
            return True
        return not current or not own or current == own

    @property
    def ended(self) -> bool:
        """Whether it is a Job that makes no more Pods."""
        conditions = (self.status.conditions if self.status else None) or ()
        return any(each.type in _ENDED and each.status == "True" for each in conditions)


_OBJECT = msgspec.json.Decoder(_ListedItem)
_CONTROLLER = msgspec.json.Decoder(_Controller)


class Inventory:
    """The workloads that have been listed so far, on nodes of these platforms.

    `skipped` is what could not be read of it, `observations` what the Pods teach of images, `uses` which digests there are of
    which image, `unpatched` what runs without any field that was injected.
    """

    def __init__(self, nodes: Mapping[str, Platform] | None = None) -> None:
        self._nodes = nodes or {}
        self._kept: dict[Key, _Kept] = {}
        self.skipped: list[Skip] = []
        self.observations: set[Observation] = set()
        self.uses: set[tuple[str, str]] = set()
        self.unpatched: set[Start] = set()

    def pod(self, raw: msgspec.Raw) -> None:
        """Take a Pod. A mirror Pod is none: admission skips it, as its node runs it whatever anybody says."""
        try:
            found, about = container_status.decode(raw), _OBJECT.decode(raw)
        except (MalformedReview, msgspec.DecodeError) as error:
            self.skipped.append(Skip("a Pod", str(error)))
            return
        if MIRROR_ANNOTATION in (found.metadata.annotations or {}):
            return
        reference = about.controller() or _reference("v1", "Pod", about)
        slim = msgspec.structs.replace(found, metadata=_slim(found.metadata))
        if len(self.uses) < USES_LIMIT:
            self.uses.update(container_status.image_usage(slim))
        if len(self.unpatched) < UNPATCHED_LIMIT:
            self.unpatched.update(container_status.ran_unpatched(found))
        if about.status is not None and about.status.phase in _FINISHED:
            return
        kept = self._kept.setdefault(reference.key, _Kept(reference))
        variant = PodVariant(slim.workload, revision=_revision(about.metadata.labels or {}))
        kept.look(_look(variant), variant)
        kept.pods += 1
        for running in container_status.running_containers(slim):
            kept.observe(ObservedContainer(slim, running, 1))
        for slot, why in container_status.waiting(slim):
            kept.wait((slot.list, slot.container.name), Waiting(why.reason, why.message[:MESSAGE_LIMIT], 1))
        node = self._nodes.get(about.spec.node_name) if about.spec else None
        if node is not None and len(self.observations) < OBSERVATIONS_LIMIT:
            self.observations.update(container_status.observations(slim, node))

    def between(self, api_version: str, kind: str, raw: msgspec.Raw) -> InventoryItem | None:
        """Take a ReplicaSet or Job: what made it gets its Pods; where nobody did it is a workload itself."""
        about = self._decode(kind, raw)
        if about is None:
            return None
        controller, reference = about.controller(), _reference(api_version, kind, about)
        if controller is None:
            return self._template(reference, raw)
        handed = self._kept.pop(reference.key, None) or _Kept(reference)
        kept = self._kept.setdefault(controller.key, _Kept(controller))
        kept.pods += handed.pods
        templated = controller.key[:2] in _TEMPLATED
        own = self._decoded(reference, raw) if handed.variants or not templated else None
        for key, variant in handed.variants.items():
            added = variant.beside(own) if templated and own is not None else variant
            if added is not None:
                kept.look(key, added)
        for observed_container in handed.observed.values():
            kept.observe(observed_container)
        for container, waiting in handed.waiting.items():
            kept.wait(container, waiting)
        if own is not None and not templated and not _controller(raw).ended:
            newest = (about.metadata.creation_timestamp, own)
            kept.template = max(kept.template or newest, newest, key=itemgetter(0))
        return None

    def template(self, api_version: str, kind: str, raw: msgspec.Raw) -> InventoryItem | None:
        """Take an object with a Pod template, whose Pods are known by now."""
        about = self._decode(kind, raw)
        return None if about is None else self._template(_reference(api_version, kind, about), raw)

    def rest(self) -> Iterator[InventoryItem]:
        """The workloads of which only Pods were found, once everything was taken."""
        for kept in self._kept.values():
            variants = tuple(kept.variants.values())
            if not variants and kept.template is not None:
                variants = (PodVariant(kept.template[1]),)
            if kept.more:
                name = f"{kept.reference.kind} {kept.reference.namespace}/{kept.reference.name}"
                self.skipped.append(
                    Skip(name, f"its Pods differ in more than {VARIANTS_LIMIT} ways; the others were not evaluated")
                )
            if variants:
                yield kept.item(variants)
        self._kept.clear()

    def _decode(self, kind: str, raw: msgspec.Raw) -> _ListedItem | None:
        try:
            return _OBJECT.decode(raw)
        except msgspec.DecodeError as error:
            self.skipped.append(Skip(f"a {kind}", str(error)))
            return None

    def _template(self, reference: Reference, raw: msgspec.Raw) -> InventoryItem | None:
        kept = self._kept.pop(reference.key, None) or _Kept(reference)
        workload = self._decoded(reference, raw)
        if workload is None:
            return None
        controller = _controller(raw)
        if controller.ended:
            return None
        current = (each for each in kept.variants.values() if controller.makes(reference.kind, dict(each.revision)))
        added = filter(None, (each.beside(workload) for each in current))
        return kept.item((PodVariant(workload), *added))

    def _decoded(self, reference: Reference, raw: msgspec.Raw) -> Workload | None:
        """The Pod template of an object; None where it has none, as a ReplicationController may, or is malformed."""
        try:
            return pod.decode(reference.kind, raw)
        except MalformedReview as error:
            self.skipped.append(Skip(f"{reference.kind} {reference.namespace}/{reference.name}", str(error)))
            return None


def controller_of(raw: bytes | msgspec.Raw) -> Reference | None:
    """The controller of an object; None where it has none, or the reference is malformed."""
    try:
        return _OBJECT.decode(raw).controller()
    except msgspec.DecodeError:
        return None


def _controller(raw: msgspec.Raw) -> _Controller:
    """The fields of an object with a template; their defaults where it is malformed."""
    try:
        return _CONTROLLER.decode(raw)
    except msgspec.DecodeError:
        return _Controller()


def _reference(api_version: str, kind: str, about: _ListedItem) -> Reference:
    return Reference(api_version, kind, about.metadata.namespace, about.metadata.name, about.metadata.uid)


def _slim(metadata: Metadata) -> Metadata:
    """Metadata without the annotations that no rule reads: some hold the whole object once more."""
    scc = (metadata.annotations or {}).get(OPENSHIFT_SCC)
    return msgspec.structs.replace(metadata, annotations=None if scc is None else {OPENSHIFT_SCC: scc})


def _revision(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((label, labels[label]) for label in _REVISION_LABELS if label in labels)


def _look(variant: PodVariant) -> object:
    """The key by which two Pods of one workload differ enough for both to be evaluated; volumes have names of their own in each."""
    slots = (
        (each.list, each.container.name, each.container.image, each.container.security_context)
        for each in variant.workload.slots()
    )
    return (variant.revision, variant.workload.context, *slots)
