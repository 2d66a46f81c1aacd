"""What a stranger is told depends on nothing that his own credentials could not read: two worlds, the same answers.

The worlds differ in a private image alone. Whatever its owner does in between, in his own namespace, a stranger who asks
the same questions is answered to the letter alike in both. One thing is left out, for it is the registry's and not the
image's: whether it has answered anybody lately, which its circuit breaker goes by.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Literal

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Login, Registry, Status
from tests.support.clock import Clock
from tests.support.identity_store import InMemoryStore
from tests.support.pods import Object, minimal, review, tweak, within
from tests.unit.registry.clients import NO_PAUSE
from tests.unit.registry.samples import Secrets, secret
from webhook.admission.handler import Admission, WebhookKind
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents, Metadata, NonRootPolicy, PolicySpec
from webhook.registry.client import RegistryClient
from webhook.registry.fallback import FallbackSource
from webhook.registry.settings import Lives, RegistrySettings

OWNER, STRANGER = "owner", "stranger"


class Private(msgspec.Struct, frozen=True):
    """What a private image may be: who its USER is, and whether it is there at all."""

    user: str
    uid: int
    pushed: bool


class Step(msgspec.Struct, frozen=True):
    """The stranger asks for the image, by tag or by the digest that it has in one of the worlds; `wait` seconds pass first.

    And perhaps its owner, who has the right credentials, has just asked for the same; and since then the replica was started
    anew, knowing what is stored, or the registry has gone away.
    """

    owner_first: bool
    restarted: bool
    away: bool
    hook: WebhookKind
    kind: Literal["Pod", "Deployment"]
    name: str
    secrets: tuple[str, ...]
    wait: float


privates = st.builds(
    Private, st.sampled_from(["", "app", "0", "1234", "root", "nobody"]), st.integers(0, 70000), st.booleans()
)
steps = st.lists(
    st.builds(
        Step,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        st.sampled_from(["mutate", "validate"]),
        st.sampled_from(["Pod", "Deployment"]),
        st.sampled_from([":1", ":1", ":2", "@0", "@1"]),
        st.sampled_from([(), ("good",), ("wrong",), ("missing",)]),
        st.sampled_from([0.0, 0.0, 20.0, 400.0]),
    ),
    min_size=1,
    max_size=6,
)
specs = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["Enforce", "Warn"]),
        "onUnknown": st.fixed_dictionaries({"default": st.sampled_from(["Allow", "Warn", "Deny"])}),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(one=privates, other=privates, asked=steps, spec=specs)
def test_two_worlds_look_the_same_to_a_stranger(
    one: Private, other: Private, asked: list[Step], spec: dict[str, Any]
) -> None:
    """He has no credential, or a wrong one, or his own namespace's Secret of that name is not there."""
    digests = [_image(each).digest for each in (one, other)]
    assert asyncio.run(_answers(one, asked, spec, digests)) == asyncio.run(_answers(other, asked, spec, digests))


def test_the_worlds_do_look_different_to_the_owner() -> None:
    """Or the test above would compare nothing."""
    asked = [Step(True, False, False, "mutate", "Pod", ":1", ("good",), 0.0)]
    spec = {"mode": "Enforce"}
    result = [
        asyncio.run(_answers(Private("app", uid, pushed=True), asked, spec, ["", ""], told_to=OWNER)) for uid in (7, 8)
    ]
    assert result[0] != result[1]


def _image(private: Private) -> Any:
    return image(accounts_layer("root:x:0:0::/:", f"app:x:{private.uid}:{private.uid}::/:"), user=private.user)


async def _answers(
    private: Private, asked: list[Step], spec: dict[str, Any], digests: list[str], told_to: str = STRANGER
) -> list[str]:
    """Every answer that one of them gets, in a world with this private image."""
    policy = NonRootPolicy(Metadata("p"), msgspec.convert(spec, PolicySpec))
    answers = []
    async with Registry(Login({"u": "p"})) as registry:
        if private.pushed:
            registry.push("team/app:1", _image(private))
        clock, kept = Clock(), InMemoryStore()
        async with AsyncExitStack() as stack:
            admission = await _started(registry, policy, clock, kept, stack)
            for step in asked:
                clock.now += step.wait
                name = step.name if step.name[0] == ":" else f"@{digests[int(step.name[1])]}"
                image_name = f"{registry.host}/team/app{name}"
                registry.honest()
                if step.owner_first:
                    outcome = await admission.review(review(_body(step, image_name, OWNER), namespace=OWNER), step.hook)
                    if told_to == OWNER:
                        answers.append(outcome.body.decode())
                if step.restarted:
                    admission = await _started(registry, policy, clock, kept, stack)
                if step.away:
                    registry.lie(Status(503))
                outcome = await admission.review(
                    review(_body(step, image_name, STRANGER), namespace=STRANGER), step.hook
                )
                if told_to == STRANGER:
                    answers.append(outcome.body.decode().replace(registry.host, "registry"))
    return answers


async def _started(
    registry: Registry, policy: NonRootPolicy, clock: Clock, kept: InMemoryStore, stack: AsyncExitStack
) -> Admission:
    """A replica that has just come up."""
    plain = RegistrySettings(insecure=frozenset({registry.host}), timeouts=NO_PAUSE, lives=Lives(breaker=0.0))
    client = RegistryClient(plain, _Namespaced(registry.host), clock=clock, store=kept)
    stack.push_async_callback(client.aclose)
    return Admission(PolicySnapshot(Documents((policy,))), FallbackSource(client, kept), clock)


def _body(step: Step, image_name: str, who: str) -> Object:
    secrets = ("good",) if who == OWNER else step.secrets
    pod = tweak(
        minimal(),
        {
            "spec.containers.0.image": image_name,
            "spec.imagePullSecrets": [{"name": each} for each in secrets],
            "spec.containers.0.securityContext.runAsNonRoot": True,
        },
    )
    return pod if step.kind == "Pod" else within(step.kind, pod)


class _Namespaced(Secrets):
    """The good Secret is in the owner's namespace only, the wrong one in both."""

    def __init__(self, host: str) -> None:
        super().__init__(wrong=secret(host, "u", "x"))
        self._good = secret(host, "u", "p")

    async def get(self, namespace: str, name: str) -> Any:
        return self._good if (namespace, name) == (OWNER, "good") else await super().get(namespace, name)

    async def names(self, namespace: str, service_account: str) -> Any:
        return ("good",)
