"""Evaluating a Pod against a table of images, and applying what is patched to it."""

import copy
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import jsonpatch

from tests.support.images import Table, image
from tests.support.pods import IMAGE, Object, effective_policy, workload
from webhook.evaluation import patch
from webhook.evaluation.evaluator import evaluate
from webhook.evaluation.verdict import Verdict
from webhook.image.source import Image, Unknown
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import NonRootException
from webhook.workload.storage import UNKNOWN, Storage

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
APP = image("app")


async def evaluate_object(
    obj: Object,
    images: Mapping[str, Image | Unknown] | Image | Unknown = APP,
    *,
    rule: EffectivePolicy | None = None,
    exceptions: Sequence[NonRootException] = (),
    storage: Storage = UNKNOWN,
) -> Verdict:
    """The verdict on an object; `images` is a table, or the one image of the minimal Pod."""
    table = images if isinstance(images, Mapping) else {IMAGE: images}
    return await evaluate(
        workload(obj),
        rule or effective_policy(),
        Table(table),
        namespace="default",
        budget=1.0,
        now=NOW,
        exceptions=exceptions,
        storage=storage,
    )


def patched(obj: Object, verdict: Verdict) -> Object:
    """The object with the verdict's patch applied by another library's reading of RFC 6902."""
    return apply(obj, patch.operations(verdict, workload(obj)))


def apply(obj: Object, operations: list[dict[str, Any]]) -> Object:
    """Operations as the API server gets them: through JSON."""
    changed = jsonpatch.apply_patch(copy.deepcopy(obj), json.dumps(operations))
    assert isinstance(changed, dict)
    return changed
