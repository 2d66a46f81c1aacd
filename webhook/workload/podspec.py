"""The types of core/v1, as far as they are evaluated or patched: other fields are never decoded.

managedFields, a third of a real review, are among what is skipped.
Source: k8s.io/api core/v1/types.go.
"""

from typing import Annotated

import msgspec

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Wire(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base of everything decoded from the API: camelCase keys, unknown fields skipped; too simple to be in a cycle."""


class Capabilities(Wire, frozen=True, gc=False):
    """Linux capabilities to add and drop."""

    add: tuple[str, ...] | None = None
    drop: tuple[str, ...] | None = None


class SeccompProfile(Wire, frozen=True, gc=False):
    """A seccomp profile, of which only the type matters."""

    type: str = ""


class WindowsOptions(Wire, frozen=True, gc=False):
    """The Windows half of a security context."""

    run_as_user_name: str | None = None
    host_process: bool | None = None


class SecurityContext(Wire, frozen=True, gc=False):
    """A container's security context."""

    run_as_user: Int64 | None = None
    run_as_group: Int64 | None = None
    run_as_non_root: bool | None = None
    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None
    seccomp_profile: SeccompProfile | None = None
    windows_options: WindowsOptions | None = None


class PodSecurityContext(Wire, frozen=True, gc=False):
    """A Pod's security context."""

    run_as_user: Int64 | None = None
    run_as_group: Int64 | None = None
    run_as_non_root: bool | None = None
    fs_group: Int64 | None = None
    fs_group_change_policy: str | None = None
    supplemental_groups: tuple[Int64, ...] | None = None
    supplemental_groups_policy: str | None = None
    seccomp_profile: SeccompProfile | None = None
    windows_options: WindowsOptions | None = None


class VolumeMount(Wire, frozen=True, gc=False):
    """A mount of a volume in a container."""

    name: str = ""
    mount_path: str = ""
    read_only: bool | None = None


class Container(Wire, frozen=True, gc=False):
    """A container of any of the three lists."""

    name: str = ""
    image: str | None = None
    image_pull_policy: str | None = None
    restart_policy: str | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    target_container_name: str | None = None
    working_dir: str | None = None
    security_context: SecurityContext | None = None
    volume_mounts: tuple[VolumeMount, ...] | None = None


class MaybeReadOnly(Wire, frozen=True, gc=False):
    """A volume source that can be read-only as a whole; `driver` is the name of a CSI driver."""

    driver: str = ""
    read_only: bool | None = None


class FileItem(Wire, frozen=True, gc=False):
    """A key of a Secret or ConfigMap with the mode of its file."""

    mode: Int32 | None = None


class FileModes(Wire, frozen=True, gc=False):
    """The modes of the files that a Secret or ConfigMap makes."""

    default_mode: Int32 | None = None
    items: tuple[FileItem, ...] | None = None

    @property
    def strictest(self) -> int:
        """The mode of the file that the fewest may read; 0644 where nothing is said."""
        default = 0o644 if self.default_mode is None else self.default_mode
        modes = [default if each.mode is None else each.mode for each in self.items or ()] or [default]
        return min(modes, key=lambda mode: mode & 0o044)


class Present(Wire, frozen=True, gc=False):
    """An object of which only its being there matters."""


class Claim(Wire, frozen=True, gc=False):
    """A persistent volume claim, by its name; of one that is made with the Pod the StorageClass, None: the default one."""

    claim_name: str | None = None
    read_only: bool | None = None
    storage_class_name: str | None = None


class ClaimSpec(Wire, frozen=True, gc=False):
    """The spec of a claim, of which only the StorageClass matters."""

    storage_class_name: str | None = None


class ClaimTemplate(Wire, frozen=True, gc=False):
    """A claim that is made with the Pod."""

    spec: ClaimSpec | None = None

    @property
    def storage_class_name(self) -> str | None:
        """Its StorageClass, None: the default one."""
        return None if self.spec is None else self.spec.storage_class_name


class Ephemeral(Wire, frozen=True, gc=False):
    """A volume that is claimed for the life of the Pod."""

    volume_claim_template: ClaimTemplate | None = None

    @property
    def storage_class_name(self) -> str | None:
        """Its StorageClass, None: the default one."""
        return None if self.volume_claim_template is None else self.volume_claim_template.storage_class_name


class Volume(Wire, frozen=True, gc=False):
    """A volume. Only the kinds that matter to a non-root process have a field."""

    name: str = ""
    persistent_volume_claim: Claim | None = None
    ephemeral: Ephemeral | None = None
    empty_dir: Present | None = None
    csi: MaybeReadOnly | None = None
    projected: Present | None = None
    host_path: Present | None = None
    nfs: MaybeReadOnly | None = None
    secret: FileModes | None = None
    config_map: FileModes | None = None


class LocalReference(Wire, frozen=True, gc=False):
    """A name in the same namespace."""

    name: str = ""


class OwnerReference(Wire, frozen=True, gc=False):
    """A reference to the object's owner."""

    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    api_version: str = ""


class PodOS(Wire, frozen=True, gc=False):
    """The operating system of a Pod, `spec.os`."""

    name: str = ""


class Requirement(Wire, frozen=True, gc=False):
    """A node selector requirement."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] | None = None


class NodeSelectorTerm(Wire, frozen=True, gc=False):
    """A conjunction of requirements."""

    match_expressions: tuple[Requirement, ...] | None = None


class NodeSelector(Wire, frozen=True, gc=False):
    """A disjunction of terms."""

    node_selector_terms: tuple[NodeSelectorTerm, ...] | None = None


class NodeAffinity(Wire, frozen=True, gc=False):
    """Node affinity, as far as the scheduler must obey it."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None


class Affinity(Wire, frozen=True, gc=False):
    """Affinity, of which only the half about nodes matters."""

    node_affinity: NodeAffinity | None = None


class PodSpec(Wire, frozen=True, gc=False):
    """A Pod's spec."""

    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    ephemeral_containers: tuple[Container, ...] | None = None
    security_context: PodSecurityContext | None = None
    volumes: tuple[Volume, ...] | None = None
    image_pull_secrets: tuple[LocalReference, ...] | None = None
    service_account_name: str | None = None
    node_selector: dict[str, str] | None = None
    affinity: Affinity | None = None
    os: PodOS | None = None
    host_users: bool | None = None
    runtime_class_name: str | None = None


class Metadata(Wire, frozen=True, gc=False):
    """Object metadata."""

    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    uid: str = ""
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None
    deletion_timestamp: str | None = None


class Pod(Wire, frozen=True, gc=False):
    """A Pod, or the template of one: they look alike."""

    metadata: Metadata | None = None
    spec: PodSpec | None = None
