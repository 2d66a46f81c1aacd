"""One container with all that is known of it: what rules look at."""

import msgspec

from webhook.image.source import Image, Unknown
from webhook.image.user import GroupMismatch, Identity, Injection, PlatformIdentity
from webhook.policy.types import PolicySpec
from webhook.workload.workload import Effective, Slot, Workload


class Subject(msgspec.Struct, frozen=True, gc=False):
    """One container with all that is known of it.

    `image` is None where the spec alone says the uid; `identities` holds one identity a platform; `planned` are the numbers
    that injection would write, and `uids` the runAsUser of every container of the Pod after it (None: unset), none where
    nothing is planned; `fault_free`: the image has no fault (`webhook.image.user.ImageAnalysis`), and nothing else is planned;
    `restricted`: its namespace enforces Pod Security restricted.
    """

    workload: Workload
    slot: Slot
    os: str
    effective: Effective
    policy: PolicySpec
    injects: bool
    image: Image | Unknown | None = None
    identities: tuple[PlatformIdentity, ...] = ()
    planned: Injection | GroupMismatch | None = None
    assigned: bool = False
    uids: tuple[int | None, ...] = ()
    fault_free: bool = False
    restricted: bool = False

    @property
    def pointer(self) -> str:
        """The JSON pointer of the container."""
        return f"{self.workload.pointer}/{self.slot.list}/{self.slot.index}"

    def field(self, name: str) -> str:
        """A field of the container's security context as one writes it: `spec.containers[0].securityContext.NAME`."""
        path = self.workload.pointer.strip("/").replace("/", ".")
        return f"{path}.{self.slot.list}[{self.slot.index}].securityContext.{name}"

    @property
    def user(self) -> str | None:
        """The image's USER, where the image was read."""
        return self.identities[0].user.text if self.identities else None

    @property
    def written_uid(self) -> int | None:
        """The runAsUser of the container once planned numbers are written; None where there is none."""
        return written_uid(self.effective, self.planned)

    @property
    def unverified(self) -> bool:
        """The kubelet will ask whether the image's USER is a number, which nobody has read."""
        return bool(self.effective.run_as_non_root) and any(
            answer.user.unread and isinstance(answer.identity, Identity) and answer.identity.uid != 0
            for answer in self.identities
        )

    @property
    def uid(self) -> int | None:
        """The uid under which the container runs once planned numbers are written; None where it is not known."""
        if self.written_uid is not None:
            return self.written_uid
        uids = {answer.identity.uid if isinstance(answer.identity, Identity) else None for answer in self.identities}
        return uids.pop() if len(uids) == 1 else None


def written_uid(effective: Effective, planned: Injection | GroupMismatch | None) -> int | None:
    """The runAsUser of a container once planned numbers are written; None where there is none."""
    if effective.run_as_user is not None:
        return effective.run_as_user
    return planned.uid if isinstance(planned, Injection) else None
