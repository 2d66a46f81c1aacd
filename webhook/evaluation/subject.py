"""The subject of a rule: one container and everything known about it."""

import msgspec

from webhook.evaluation import kubelet
from webhook.evaluation.pod_facts import PodFacts
from webhook.image.filesystem import Suggestion
from webhook.image.source import Image, Unknown
from webhook.image.user import GroupMismatch, Identity, Injection, PlatformIdentity
from webhook.policy.exemptions import Exemption
from webhook.policy.types import PolicySpec
from webhook.workload import storage
from webhook.workload.podspec import SecurityContext
from webhook.workload.storage import Storage
from webhook.workload.workload import Effective, Slot, Workload


class Subject(msgspec.Struct, gc=False):
    """One container with all that is known of it: filled in by the evaluator, then only read.

    `pod` is what it shares with the Pod's other containers; `image` is None where the spec alone says the uid; `layers` is
    the one whose layers may be known, also then; `identities` holds one identity a platform; `suggested` is the one that
    a root image is made for, None where that is not evident; `planned` are the numbers
    that injection would write; `image_fs_group` goes with an identity that was `assigned` from the image; `fault_free`:
    the image has no fault (`webhook.image.user.ImageAnalysis`), and nothing else is planned; `exemption` is that of an
    exception; `added`: its owner's template does not have it; `storage` is what the cluster says of volumes;
    `restricted`: its namespace enforces Pod Security restricted; `enforced`: mode Enforce is in force; `permits_root`: an
    exemption or the policy lets the container run as root where its image says so; `exempt_rules` are those of which an
    exemption drops the findings; `pod_rules` are those about the whole Pod whose findings are reported for this
    container.
    """

    workload: Workload
    pod: PodFacts
    slot: Slot
    os: str
    effective: Effective
    policy: PolicySpec
    injects: bool
    image: Image | Unknown | None = None
    layers: Image | None = None
    identities: tuple[PlatformIdentity, ...] = ()
    suggested: Suggestion | None = None
    planned: Injection | GroupMismatch | None = None
    assigned: bool = False
    image_fs_group: int | None = None
    fault_free: bool = False
    exemption: Exemption | None = None
    added: bool = False
    storage: Storage = storage.UNKNOWN
    restricted: bool = False
    enforced: bool = False
    permits_root: bool = False
    exempt_rules: frozenset[str] = frozenset()
    pod_rules: frozenset[str] = frozenset()

    @property
    def fs_group(self) -> int | None:
        """The fsGroup that may be injected for its volumes; None where there is none."""
        return self.policy.fs_group if self.image_fs_group is None else self.image_fs_group

    @property
    def fully_exempt(self) -> bool:
        """Whether every finding about it is dropped, so that its image need not be known."""
        return self.exemption is not None and not self.exemption.rules

    def reported(self, rules: frozenset[str]) -> frozenset[str]:
        """Those of the rules whose findings about it no exception drops."""
        if self.exemption is None:
            return rules
        return rules - self.exemption.rules if self.exemption.rules else frozenset()

    @property
    def unknown(self) -> Unknown | None:
        """The reason why the image, or its accounts on some platform, is not known; None where they are."""
        if isinstance(self.image, Unknown):
            return self.image
        for each in self.identities:
            if isinstance(each.identity, Unknown):
                return each.identity
        return None

    @property
    def windows_users(self) -> list[str]:
        """On Windows, the names that the container may run under: the spec's, or else one a platform."""
        given = self.effective.windows_user
        return [given] if given is not None else [each.user.name for each in self.identities]

    @property
    def pinned(self) -> bool:
        """Whether the Pod as it stands keeps the kubelet from starting the container as root."""
        return kubelet.never_root(self.effective, self.os)

    @property
    def meets_restricted(self) -> bool:
        """Whether the container as it stands has every field that Pod Security restricted demands of it.

        Source: k8s.io/pod-security-admission policy/check_runAsNonRoot.go, check_allowPrivilegeEscalation.go,
        check_capabilities_restricted.go and check_seccompProfile_restricted.go.
        """
        own, pod = self.slot.container.security_context or SecurityContext(), self.workload.context
        seccomp, capabilities = own.seccomp_profile or pod.seccomp_profile, own.capabilities
        return (
            bool(self.effective.run_as_non_root)
            and own.allow_privilege_escalation is False
            and capabilities is not None
            and "ALL" in (capabilities.drop or ())
            and set(capabilities.add or ()) <= {"NET_BIND_SERVICE"}
            and seccomp is not None
            and seccomp.type in {"RuntimeDefault", "Localhost"}
        )

    @property
    def pins(self) -> bool:
        """Whether injection would write what keeps the kubelet from starting the container as root."""
        if not self.injects or self.pinned:
            return False
        return self.verifies or (
            self.os == "linux" and self.effective.run_as_user is None and isinstance(self.planned, Injection)
        )

    @property
    def verifies(self) -> bool:
        """Whether injection writes `runAsNonRoot: true` alone, so that the kubelet decides by the image that it pulls.

        That is so of an image that could not be read, where policy says Verify; of one whose USER is another number on
        another platform; and on Windows, where nobody has a uid, in mode Enforce.
        """
        if not self.injects or self.effective.run_as_non_root is not None:
            return False
        unknown = self.unknown
        if unknown is not None:
            asked = self.policy.on_unknown.action(unknown.cause, enforced=self.enforced) == "Verify"
            return asked and not self.permits_root and not self.pinned
        if not self.identities:
            return False
        if self.os == "windows":
            return self.enforced and not any(map(kubelet.is_administrator, self.windows_users))
        return self.effective.run_as_user is None and self.planned is None and self.numeric

    @property
    def uids_of_platforms(self) -> set[int]:
        """The uids of the image's USER, as far as they are known: one, or several where platforms disagree."""
        return {each.identity.uid for each in self.identities if isinstance(each.identity, Identity)}

    @property
    def numeric(self) -> bool:
        """Whether the kubelet starts the image on every platform with `runAsNonRoot: true`: USER is a number above 0."""
        return all(
            each.user.uid is not None
            and not each.user.unread
            and isinstance(each.identity, Identity)
            and each.identity.uid > 0
            for each in self.identities
        )

    @property
    def pointer(self) -> str:
        """The JSON pointer of the container."""
        return f"{self.workload.pointer}/{self.slot.list}/{self.slot.index}"

    def field(self, name: str) -> str:
        """A field of the container's security context as one writes it: `spec.containers[0].securityContext.NAME`."""
        return f"{self.workload.path_of(self.slot)}.securityContext.{name}"

    @property
    def user(self) -> str | None:
        """The image's USER, where the image was read."""
        return self.identities[0].user.text if self.identities else None

    @property
    def written_uid(self) -> int | None:
        """The runAsUser of the container once planned numbers are written; None where there is none."""
        if self.effective.run_as_user is not None:
            return self.effective.run_as_user
        return self.planned.uid if isinstance(self.planned, Injection) else None

    @property
    def unverified(self) -> bool:
        """The kubelet will ask whether the image's USER is a number, which was not read."""
        return bool(self.effective.run_as_non_root) and any(
            answer.user.unread and isinstance(answer.identity, Identity) and answer.identity.uid != 0
            for answer in self.identities
        )

    @property
    def uid(self) -> int | None:
        """The uid under which the container runs once planned numbers are written; None where it is not known."""
        if self.written_uid is not None:
            return self.written_uid
        uid = None
        for each in self.identities:
            if not isinstance(each.identity, Identity) or uid not in {None, each.identity.uid}:
                return None
            uid = each.identity.uid
        return uid
