"""The label `nonroot.dev/mode=enforce` on the namespaces that a policy with `labelNamespaces: true` enforces.

Only a label makes the API server ask the hook that fails closed. The annotation `nonroot.dev/labelled-by` tells the labels of
the controller from those that people put: the former are taken away once no such policy enforces the namespace any more,
the latter are never touched.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from webhook.policy.exemptions import exempts
from webhook.policy.selection import MODE_LABEL, Namespace, select_policy
from webhook.policy.types import NonRootPolicy
from webhook.scan.coverage import Coverage

LABELLED_BY = "nonroot.dev/labelled-by"
ENFORCE = "enforce"


class LabelChange(msgspec.Struct, frozen=True):
    """The labels and annotations that a namespace is to have, whole, and why, for people."""

    labels: dict[str, str]
    annotations: dict[str, str]
    note: str

    def patch(self, resource_version: str) -> list[dict[str, Any]]:
        """The JSON Patch, which applies to that version only."""
        return [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/metadata/labels", "value": self.labels},
            {"op": "add", "path": "/metadata/annotations", "value": self.annotations},
        ]


def label_change(
    policies: Iterable[NonRootPolicy],
    name: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    coverage: Coverage,
) -> LabelChange | None:
    """The change of a namespace's labels that is due; None where there is none."""
    former = annotations.get(LABELLED_BY)
    ours = former is not None and labels.get(MODE_LABEL) == ENFORCE
    own = {key: value for key, value in labels.items() if not (ours and key == MODE_LABEL)}
    policy = None if MODE_LABEL in own else _labelling(policies, Namespace(name, own), coverage)
    if (policy is None and not ours) or (ours and policy == former):
        return None
    others = {key: value for key, value in annotations.items() if key != LABELLED_BY}
    if policy is None:
        note = (
            f"no policy with labelNamespaces enforces it any more, as {former} did: the label {MODE_LABEL} is removed"
        )
        return LabelChange(own, others, note)
    note = f"labelled {MODE_LABEL}={ENFORCE} for policy {policy}: its Pods are refused, not admitted, while admission is away"
    return LabelChange({**own, MODE_LABEL: ENFORCE}, {**others, LABELLED_BY: policy}, note)


def _labelling(policies: Iterable[NonRootPolicy], namespace: Namespace, coverage: Coverage) -> str | None:
    """The policy that wants the label on a namespace which has none."""
    policy = select_policy(policies, namespace).policy
    spec = policy.spec
    if (
        not spec.label_namespaces
        or spec.mode != "Enforce"
        or exempts(spec, namespace.name)
        or not coverage.covers(namespace)
    ):
        return None
    return policy.metadata.name
