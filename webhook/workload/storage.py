"""The storage of a cluster: the driver of a volume, and whether the kubelet gives its volumes to an fsGroup.

Sources: k8s.io/api storage/v1/types.go (FSGroupPolicy, IsDefaultStorageClassAnnotation); kubernetes
pkg/volume/csi/csi_mounter.go (supportsFSGroup).
"""

from collections.abc import Mapping

import msgspec

from webhook.workload.podspec import Volume

DEFAULT_CLASS = ""  # what stands for the default StorageClass


class Storage(msgspec.Struct, frozen=True):
    """The fsGroupPolicy of each CSIDriver, the provisioner of each StorageClass, and the class of each claim by its namespace."""

    policies: Mapping[str, str] = {}
    provisioners: Mapping[str, str] = {}
    claims: Mapping[tuple[str, str], str] = {}

    def driver(self, volume: Volume, namespace: str) -> str:
        """The driver of a volume; "" where it is not known."""
        if volume.csi is not None:
            return volume.csi.driver
        claim = volume.persistent_volume_claim
        if claim is not None and claim.claim_name:
            storage_class: str | None = self.claims.get((namespace, claim.claim_name))
            return "" if storage_class is None else self.provisioners.get(storage_class, "")
        template = claim if claim is not None else volume.ephemeral
        if template is None:
            return ""
        wanted = template.storage_class_name
        return self.provisioners.get(DEFAULT_CLASS if wanted is None else wanted, "")

    def changes_owners(self, driver: str) -> bool | None:
        """Whether an fsGroup changes the owners of a driver's volumes; None where that depends on the volume, or is unknown."""
        return {"File": True, "None": False}.get(self.policies.get(driver, ""))


UNKNOWN = Storage()
