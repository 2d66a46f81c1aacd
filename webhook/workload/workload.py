"""A workload: the Pod spec inside a Pod or a template, with all kinds of containers and their JSON pointers.

Sources: kubernetes pkg/securitycontext/util.go (DetermineEffectiveSecurityContext); k8s.io/pod-security-admission
admission/admission.go (the kinds that carry a Pod template).
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from webhook.errors import MalformedObject
from webhook.text import describe_error
from webhook.workload.json_pointer import field_path
from webhook.workload.podspec import (
    Claim,
    ClaimTemplate,
    Container,
    Metadata,
    Pod,
    PodSecurityContext,
    PodSpec,
    SecurityContext,
    Volume,
    Wire,
)

ContainerKind = Literal["init", "sidecar", "regular", "ephemeral"]


class _ClaimTemplate(ClaimTemplate, frozen=True, gc=False):
    metadata: Metadata | None = None


class _TemplateHolder(Wire, frozen=True, gc=False):
    template: Pod | None = None
    volume_claim_templates: tuple[_ClaimTemplate, ...] | None = None


class _Controller(Wire, frozen=True, gc=False):
    metadata: Metadata | None = None
    spec: _TemplateHolder | None = None


class _JobTemplate(Wire, frozen=True, gc=False):
    spec: _TemplateHolder | None = None


class _CronJobSpec(Wire, frozen=True, gc=False):
    job_template: _JobTemplate | None = None


class _CronJob(Wire, frozen=True, gc=False):
    metadata: Metadata | None = None
    spec: _CronJobSpec | None = None


class _PodTemplate(Wire, frozen=True, gc=False):
    metadata: Metadata | None = None
    template: Pod | None = None


CONTROLLERS = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController")
TEMPLATE_KINDS = (*CONTROLLERS, "CronJob", "PodTemplate")

_POD = msgspec.json.Decoder(Pod)
_CONTROLLER = msgspec.json.Decoder(_Controller)
_CRON_JOB = msgspec.json.Decoder(_CronJob)
_POD_TEMPLATE = msgspec.json.Decoder(_PodTemplate)
NO_METADATA = Metadata()
_NO_POD_CONTEXT = PodSecurityContext()
_NO_CONTEXT = SecurityContext()


class Slot(msgspec.Struct, frozen=True, gc=False):
    """A container and where it stands: its kind, the name of its list and its index there."""

    kind: ContainerKind
    list: str
    index: int
    container: Container


class Workload(msgspec.Struct, frozen=True, gc=False):
    """A Pod or a Pod template with its holder. `pointer` is the JSON pointer of the Pod spec in the object received."""

    kind: str
    metadata: Metadata
    spec: PodSpec
    pointer: str = "/spec"
    template_metadata: Metadata = NO_METADATA

    @property
    def is_pod(self) -> bool:
        """A Pod, not a template of one."""
        return self.kind == "Pod"

    @property
    def pod_metadata(self) -> Metadata:
        """The metadata that the Pod has or will have."""
        return self.metadata if self.is_pod else self.template_metadata

    @property
    def path(self) -> str:
        """The Pod spec as people write the field, such as `spec.template.spec`."""
        return field_path(self.pointer)

    def path_of(self, slot: Slot) -> str:
        """A container as people write the field, such as `spec.containers[0]`."""
        return f"{self.path}.{slot.list}[{slot.index}]"

    @property
    def name(self) -> str:
        """The name of the workload, or what it will begin with."""
        return self.metadata.name or self.metadata.generate_name or ""

    @property
    def context(self) -> PodSecurityContext:
        """The Pod-level security context, empty where there is none."""
        return self.spec.security_context or _NO_POD_CONTEXT

    @property
    def size(self) -> int:
        """The number of containers, of all kinds."""
        spec = self.spec
        return len(spec.containers or ()) + len(spec.init_containers or ()) + len(spec.ephemeral_containers or ())

    def slots(self) -> Iterator[Slot]:
        """Every container: init (sidecars among them), regular, ephemeral."""
        for index, container in enumerate(self.spec.init_containers or ()):
            yield Slot(
                "sidecar" if container.restart_policy == "Always" else "init", "initContainers", index, container
            )
        for index, container in enumerate(self.spec.containers or ()):
            yield Slot("regular", "containers", index, container)
        for index, container in enumerate(self.spec.ephemeral_containers or ()):
            yield Slot("ephemeral", "ephemeralContainers", index, container)


def decode(kind: str, raw: bytes | msgspec.Raw | Pod) -> Workload | None:
    """The workload in an object of `kind`, None where it has no Pod spec; `MalformedObject` where it is malformed.

    Of a Pod the object may be decoded already.
    """
    try:
        if isinstance(raw, Pod) or kind == "Pod":
            pod = raw if isinstance(raw, Pod) else _POD.decode(raw)
            if pod.metadata is None:
                raise MalformedObject("the Pod in the request has no metadata")
            return Workload(kind, pod.metadata, pod.spec) if pod.spec else None
        if kind in CONTROLLERS:
            controller = _CONTROLLER.decode(raw)
            return _template(kind, controller.metadata, controller.spec, "/spec/template")
        if kind == "CronJob":
            cron_job = _CRON_JOB.decode(raw)
            job = cron_job.spec.job_template if cron_job.spec else None
            return _template(kind, cron_job.metadata, job.spec if job else None, "/spec/jobTemplate/spec/template")
        if kind == "PodTemplate":
            pod_template = _POD_TEMPLATE.decode(raw)
            return _template(kind, pod_template.metadata, _TemplateHolder(pod_template.template), "/template")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedObject(f"the {kind} in the request is malformed: {describe_error(error)}") from None
    return None


def _template(kind: str, metadata: Metadata | None, holder: _TemplateHolder | None, pointer: str) -> Workload | None:
    template = holder and holder.template
    if not template or not template.spec:
        return None
    spec = template.spec
    if holder and holder.volume_claim_templates:
        spec = msgspec.structs.replace(spec, volumes=_claimed(spec.volumes or (), holder.volume_claim_templates))
    return Workload(kind, metadata or NO_METADATA, spec, f"{pointer}/spec", template.metadata or NO_METADATA)


def _claimed(volumes: tuple[Volume, ...], templates: tuple[_ClaimTemplate, ...]) -> tuple[Volume, ...]:
    """The volumes that a StatefulSet's Pods get: its claims replace those of the same name.

    Source: kubernetes pkg/controller/statefulset/stateful_set_utils.go (updateStorage)
    """
    claims = {
        each.metadata.name or "": Claim(storage_class_name=each.storage_class_name)
        for each in templates
        if each.metadata
    }
    made = (Volume(name=name, persistent_volume_claim=claim) for name, claim in claims.items())
    return (*made, *(each for each in volumes if each.name not in claims))


class Effective(msgspec.Struct, frozen=True, gc=False):
    """A container's security context after merging the Pod's, as the kubelet does, with who set the user."""

    run_as_user: int | None
    run_as_group: int | None
    run_as_non_root: bool | None
    user_source: Literal["container", "pod", "image"]
    windows_user: str | None


def effective(container: Container, pod: PodSecurityContext) -> Effective:
    """Merge a container's security context over the Pod's, per field."""
    own = container.security_context or _NO_CONTEXT
    user, source = own.run_as_user, "container"
    if user is None:
        user, source = pod.run_as_user, "pod"
    if user is None:
        source = "image"
    windows = own.windows_options.run_as_user_name if own.windows_options else None
    if windows is None and pod.windows_options is not None:
        windows = pod.windows_options.run_as_user_name
    return Effective(
        user,
        pod.run_as_group if own.run_as_group is None else own.run_as_group,
        pod.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root,
        source,  # type: ignore[arg-type]  # one of three literals, chosen above
        windows,
    )
