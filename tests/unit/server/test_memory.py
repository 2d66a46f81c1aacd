"""Reviews with the longest possible value of every field: what a replica keeps of them stops growing.

NONROOT_MEMORY_SECONDS sends each for so many seconds; without it each is sent a few dozen times.
"""

from typing import Any

import pytest

from tests.support.growth import growth
from tests.support.images import Table, image
from tests.support.pods import IMAGE, minimal, tweak
from tests.unit.server.test_asgi import ENFORCE, _fallback, review
from webhook.admission.handler import Admission
from webhook.policy.cache import PolicySnapshot
from webhook.server.asgi import Reviews
from webhook.server.counters import Metrics

SIZE = 1 << 20  # characters of a value
ROUNDS = 24
GROWTH = 12 << 20  # bytes: the response cache may fill, which is half of what the values are together

FIELDS: dict[str, Any] = {
    "image": lambda value: {"spec.containers.0.image": value},
    "container name": lambda value: {"spec.containers.0.name": value},
    "pull secret": lambda value: {"spec.imagePullSecrets": [{"name": value}]},
    "service account": lambda value: {"spec.serviceAccountName": value},
    "name": lambda value: {"metadata.name": value},
    "owner": lambda value: {
        "metadata.ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": value, "uid": value, "controller": True}]
    },
    "annotation": lambda value: {"metadata.annotations": {"nonroot.dev/injected": value}},
    "node selector": lambda value: {"spec.nodeSelector": {"kubernetes.io/arch": value}},
    "runtime class": lambda value: {"spec.runtimeClassName": value},
}


@pytest.mark.thorough
@pytest.mark.parametrize("field", [*FIELDS, "namespace", "user", "operation"])
async def test_nothing_keeps_the_longest_value_of_a_field(field: str) -> None:
    images = Table({IMAGE: image("app")})
    reviews = Reviews(Admission(PolicySnapshot(ENFORCE), images), Metrics(), _fallback)

    async def send(number: int) -> None:
        value = f"{number}-" + "a" * SIZE
        pod = tweak(minimal(), FIELDS[field](value)) if field in FIELDS else minimal()
        outside: dict[str, dict[str, Any]] = {
            "namespace": {"namespace": value},
            "user": {"userInfo": {"username": value}},
            "operation": {"operation": value},
        }
        body = review(pod, **outside.get(field, {}))
        for hook in ("mutate", "validate"):
            reply = await reviews.answer(hook, body, 0.5)
            reply.observe()
        images.asked.clear()

    grown, number = await growth(f"a replica that gets reviews with the longest value of: {field}", send, ROUNDS)
    assert grown < GROWTH, f"{grown >> 20} MiB after {number} reviews of {SIZE >> 20} MiB"
