"""The status of a Pod's containers: who each runs as, what that says about its image, and whether it was predicted.

    pod = observed.decode(raw)                              # a Pod, status included
    for running in observed.running(pod): ...               # each container as the kubelet reports it
    observed.facts(pod, platform)                           # what its images' own users are, where the Pod shows it
    observed.uses(pod)                                      # which digest each of its images stands for there
    observed.mismatch(pod, running, identities)             # what a prediction got wrong, None where nothing
    observed.waiting(pod)                                   # which containers do not start, and why
    observed.ran_unpatched(pod)                             # what runs without any field of ours

Since Kubernetes 1.33 a container's status says who its first process is, in the runtime's own numbers, and `imageID` which
digest was pulled: the index's for a multi-arch tag, and the config's where none was. The platform is the node's.
Sources: k8s.io/api core/v1/types.go (ContainerUser); kubernetes pkg/kubelet/kubelet_pods.go (convertToAPIContainerStatuses),
pkg/kubelet/kuberuntime/security_context.go (what the kubelet adds to the groups), pkg/kubelet/volumemanager/volume_manager.go
(GetExtraSupplementalGroupsForPod); containerd/containerd internal/cri/server/container_status.go (imageID).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from webhook.errors import InvalidReference, MalformedReview
from webhook.image import reference
from webhook.image.config import Platform
from webhook.image.image_identity import Observation
from webhook.image.user import Identity
from webhook.text import describe_error
from webhook.workload import workload as pod
from webhook.workload.annotations import injection_record
from webhook.workload.podspec import Container, Int64, Metadata, PodSpec, Wire
from webhook.workload.workload import Effective, Slot, Workload


class LinuxUser(Wire, frozen=True, gc=False):
    """The uid and groups of a container's first process."""

    uid: Int64
    gid: Int64
    supplemental_groups: tuple[Int64, ...] | None = None


class _User(Wire, frozen=True, gc=False):
    linux: LinuxUser | None = None


class ContainerWaiting(Wire, frozen=True, gc=False):
    """The kubelet's reason why a container does not run."""

    reason: str = ""
    message: str = ""


class ContainerRunning(Wire, frozen=True, gc=False):
    """A container that runs, and since when."""

    started_at: datetime | None = None


class ContainerTerminated(Wire, frozen=True, gc=False):
    """A container that has ended, or that the runtime could not start."""

    exit_code: int = 0
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Wire, frozen=True, gc=False):
    """The state of a container: waiting, running or terminated; none of them where the kubelet has not reported it."""

    waiting: ContainerWaiting | None = None
    running: ContainerRunning | None = None
    terminated: ContainerTerminated | None = None


_NO_STATE = ContainerState()


class ContainerStatus(Wire, frozen=True, gc=False):
    """The status of one container, as the kubelet reports it; `last_state` is how it ended before."""

    name: str
    image_id: str = msgspec.field(default="", name="imageID")
    user: _User | None = None
    state: ContainerState = _NO_STATE
    last_state: ContainerState = _NO_STATE

    @property
    def digest(self) -> str:
        """The digest that was pulled or, of an image that came from no registry, its id: the digest of its config."""
        digest = self.image_id.rpartition("@")[2]
        return digest if reference.DIGEST.match(digest) else ""


class _PodMetadata(Metadata, frozen=True, gc=False):
    generation: int | None = None


class _Status(Wire, frozen=True, gc=False):
    observed_generation: int | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    ephemeral_container_statuses: tuple[ContainerStatus, ...] | None = None


_NO_STATUS = _Status()
_STARTING = frozenset({"", "ContainerCreating", "PodInitializing"})  # every container's first reasons


class Pod(Wire, frozen=True, gc=False):
    """A Pod as the API server has it, as far as it says who runs; also as an item of a list."""

    metadata: _PodMetadata
    spec: PodSpec
    status: _Status = _NO_STATUS

    @property
    def workload(self) -> Workload:
        """The Pod as it is evaluated."""
        return Workload("Pod", self.metadata, self.spec)


class RunningContainer(msgspec.Struct, frozen=True):
    """One container as the kubelet reports it, running or ended.

    `digest` is the manifest's or index's that the node pulled, or the config's of an image that came from no registry;
    `groups` are sorted, the primary one among them.
    """

    slot: Slot
    effective: Effective
    digest: str
    uid: int
    gid: int
    groups: tuple[int, ...]


_POD = msgspec.json.Decoder(Pod)


def decode(raw: bytes | msgspec.Raw) -> Pod:
    """Read a Pod; `MalformedReview` where it is none."""
    try:
        return _POD.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedReview(f"the Pod is malformed: {describe_error(error)}") from None


def running_containers(observed: Pod) -> Iterator[RunningContainer]:
    """Every container of which the kubelet has said who it is: none on Windows, and none before Kubernetes 1.33."""
    workload = observed.workload
    for slot, own in reported(observed):
        if own.user is None or own.user.linux is None:
            continue
        user = own.user.linux
        groups = tuple(sorted({user.gid, *(user.supplemental_groups or ())}))
        effective = pod.effective(slot.container, workload.context)
        yield RunningContainer(slot, effective, own.digest, user.uid, user.gid, groups)


def reported(observed: Pod) -> Iterator[tuple[Slot, ContainerStatus]]:
    """Every container of which the kubelet has said anything."""
    status = observed.status
    lists = {
        "initContainers": status.init_container_statuses,
        "containers": status.container_statuses,
        "ephemeralContainers": status.ephemeral_container_statuses,
    }
    by_name = {(list_, each.name): each for list_, statuses in lists.items() for each in statuses or ()}
    for slot in observed.workload.slots():
        own = by_name.get((slot.list, slot.container.name))
        if own is not None:
            yield slot, own


def waiting(observed: Pod) -> Iterator[tuple[Slot, ContainerWaiting]]:
    """Every container that does not start for a reason that lasts, and the reason."""
    for slot, own in reported(observed):
        if own.state.waiting is not None and own.state.waiting.reason not in _STARTING:
            yield slot, own.state.waiting


Start = tuple[str, tuple[str, ...], tuple[str, ...]]
"""An image, by digest or by normalised reference, and the command and args that a container gives it."""


def starts(container: Container, *digests: str) -> Iterator[Start]:
    """The names of what a container starts: by each of the digests, and by the reference."""
    command, args = container.command or (), container.args or ()
    return ((image, command, args) for image in (*digests, _normalised(container)) if image)


def ran_unpatched(observed: Pod) -> Iterator[Start]:
    """The programs that containers without any injected field have started, and that run or have ended well."""
    if _outdated(observed):
        return
    patched = injected_fields(observed)
    for slot, own in reported(observed):
        ended = own.state.terminated
        if slot.container.name not in patched and (own.state.running or (ended and not ended.exit_code)):
            yield from starts(slot.container, own.digest)


def injected_fields(observed: Pod) -> dict[str, tuple[str, ...]]:
    """The security context fields that we have injected into each container, by its name, as the Pod's annotation says."""
    fields: dict[str, tuple[str, ...]] = {}
    for each in injection_record(observed.metadata.annotations):
        name, given = each.get("container"), each.get("fields")
        if isinstance(name, str) and isinstance(given, list):
            fields[name] = (*fields.get(name, ()), *(field for field in given if isinstance(field, str)))
    return fields


def image_usage(observed: Pod) -> Iterator[tuple[str, str]]:
    """The normalised reference and the digest of each image that the node has pulled for the Pod."""
    if _outdated(observed):
        return
    for slot, own in reported(observed):
        image = _normalised(slot.container)
        if image and own.digest:
            yield image, own.digest


def observations(observed: Pod, platform: Platform) -> Iterator[Observation]:
    """The identities of images' own users that the containers show, on a node of that platform.

    Nothing where the spec says the uid or the gid.
    """
    if _outdated(observed):
        return
    namespace = observed.metadata.namespace if observed.spec.image_pull_secrets else None
    for each in running_containers(observed):
        effective = each.effective
        if effective.run_as_user is not None or effective.run_as_group is not None:
            continue
        image = _normalised(each.slot.container)
        if not image or not each.digest:
            continue
        yield Observation(
            image,
            each.digest,
            platform,
            each.uid,
            each.gid,
            # It started with runAsNonRoot, which the kubelet grants to numbers alone.
            user=str(each.uid) if effective.run_as_non_root else None,
            groups=None if _regroups(observed.workload) else each.groups,
            namespace=namespace,
        )


def mismatch(observed: Pod, reported: RunningContainer, identities: Iterable[Identity]) -> str | None:
    """The difference between the kubelet's report and the predicted identities; None where one fits, or there is none.

    They are those of the image's USER or, where the spec sets runAsUser, of that number in the image
    (`identity.resolve`): one for each platform on which the Pod may be. What else the spec says is applied here. What
    nobody could know is not compared: unread accounts, and the groups that volumes bring.
    """
    wrong = [_difference(observed.workload, reported, each) for each in identities]
    return wrong[0] if wrong and all(wrong) else None


def _difference(workload: Workload, reported: RunningContainer, identity: Identity) -> str | None:
    effective, context = reported.effective, workload.context
    uid = identity.uid if effective.run_as_user is None else effective.run_as_user
    if reported.uid != uid:
        return f"runs as uid {reported.uid} where uid {uid} was predicted"
    if identity.uid != uid or identity.gid is None or identity.groups is None:
        return None
    gid = identity.gid if effective.run_as_group is None else effective.run_as_group
    if reported.gid != gid:
        return f"runs as gid {reported.gid} where gid {gid} was predicted"
    given = {gid, *(context.supplemental_groups or ())} | (
        {context.fs_group} if context.fs_group is not None else set()
    )
    own = set() if context.supplemental_groups_policy == "Strict" else set(identity.groups)
    # The image's primary group is only kept beside a runAsGroup where it also lists the user as a member.
    least, most = given | own - {identity.gid}, given | own
    groups = set(reported.groups)
    if not least <= groups or not (groups <= most or _volumes_regroup(workload)):
        return f"runs with the groups {_listed(groups)} where {_listed(most)} were predicted"
    return None


def _outdated(observed: Pod) -> bool:
    """The kubelet has not seen the newest spec yet: the image that it names may not be the one that runs."""
    return observed.status.observed_generation not in {None, observed.metadata.generation}


def _normalised(container: Container) -> str:
    try:
        return str(reference.parse(container.image or ""))
    except InvalidReference:
        return ""


def _regroups(workload: Workload) -> bool:
    """Whether the Pod changes which supplementary groups its processes have."""
    context = workload.context
    return (
        context.fs_group is not None
        or bool(context.supplemental_groups)
        or context.supplemental_groups_policy == "Strict"
        or _volumes_regroup(workload)
    )


def _volumes_regroup(workload: Workload) -> bool:
    """Whether a volume may bring groups: a PersistentVolume's annotation, of which the Pod itself does not tell."""
    return any(
        volume.persistent_volume_claim is not None or volume.ephemeral is not None
        for volume in workload.spec.volumes or ()
    )


def _listed(groups: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(groups))) or "none"
