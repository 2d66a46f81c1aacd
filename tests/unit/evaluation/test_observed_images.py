"""Evaluation by identities that nodes have shown: as exact as these are."""

from typing import Any

import msgspec
import pytest

from tests.support.evaluation import evaluate_object, patched
from tests.support.pods import effective_policy, minimal, tweak
from webhook.evaluation.finding import describe_user
from webhook.evaluation.verdict import Verdict
from webhook.image.config import Config, Platform, User, parse_user
from webhook.image.passwd import ResolvedIds
from webhook.image.source import Image, PlatformImage, Unknown

WHY = Unknown("unauthorized", "registry.example asks for a password")
CONTEXT = "spec.containers.0.securityContext"


def shown(uid: int = 1500, gid: int = 1600, *, user: str | None = None, age: float = 10_800.0) -> Image:
    """What a node has shown; `user` where a kubelet has verified that it is a number."""
    config = Config(User("", uid=uid) if user is None else parse_user(user), Platform("linux", "amd64"))
    return Image(
        "sha256:1",
        (PlatformImage(config, accounts=ResolvedIds(uid, gid, (gid,))),),
        "observed",
        age,
        fallback_reason=WHY,
    )


def context(paths: dict[str, Any], verdict: Verdict) -> dict[str, Any]:
    fields: dict[str, Any] = patched(tweak(minimal(), paths), verdict)["spec"]["containers"][0].get(
        "securityContext", {}
    )
    return fields


async def test_an_unread_user_gets_its_uid_and_its_gid() -> None:
    """By the uid alone the runtime would take the gid of whoever has that uid first."""
    verdict = await evaluate_object(minimal(), shown())
    assert verdict.state == "compliant"
    fields = context({}, verdict)
    assert (fields["runAsUser"], fields["runAsGroup"], fields["runAsNonRoot"]) == (1500, 1600, True)


async def test_a_number_that_a_kubelet_has_verified_needs_no_gid() -> None:
    fields = context({}, await evaluate_object(minimal(), shown(user="1500")))
    assert fields["runAsUser"] == 1500
    assert "runAsGroup" not in fields


async def test_a_group_of_the_specs_own_stays() -> None:
    paths = {f"{CONTEXT}.runAsGroup": 7}
    fields = context(paths, await evaluate_object(tweak(minimal(), paths), shown()))
    assert (fields["runAsUser"], fields["runAsGroup"]) == (1500, 7)


async def test_root_that_a_node_has_shown_is_refused() -> None:
    verdict = await evaluate_object(minimal(), shown(0, 0))
    assert (verdict.state, [finding.rule for finding in verdict.findings]) == ("denied", ["root-image"])
    assert context({}, verdict) == {}


async def test_what_may_be_a_name_is_cured_where_it_can_be() -> None:
    paths = {f"{CONTEXT}.runAsNonRoot": True}
    verdict = await evaluate_object(tweak(minimal(), paths), shown())
    assert (verdict.state, [finding.rule for finding in verdict.findings]) == ("fixable", ["named-user"])
    assert context(paths, verdict)["runAsUser"] == 1500
    (finding,) = verdict.findings
    assert (finding.pointer, finding.fixable) == ("/spec/containers/0/securityContext/runAsUser", True)
    assert finding.message == (
        'image may have a non-numeric user: container "app" (image "registry.example/app:1", USER not read, observed on a '
        "node 3 h ago) has runAsNonRoot, and of the image's USER no more is known than that it is uid 1500: the kubelet "
        "would refuse a name; set spec.containers[0].securityContext.runAsUser: 1500"
    )
    second = await evaluate_object(patched(tweak(minimal(), paths), verdict), shown())
    assert (second.state, second.findings) == ("compliant", ())


async def test_what_may_be_a_name_is_not_known_where_nothing_is_injected() -> None:
    """With the cause for which the registry itself does not say: the policy's onUnknown decides."""
    paths = {f"{CONTEXT}.runAsNonRoot": True}
    verdict = await evaluate_object(tweak(minimal(), paths), shown(), rule=effective_policy(inject="Never"))
    (finding,) = verdict.findings
    assert (verdict.state, finding.rule, finding.cause) == ("unknown", "unknown-image", "unauthorized")
    asks = "runAsNonRoot asks for a number as the image's USER, which was not read"
    assert finding.detail.endswith(
        f": unauthorized: {asks}; {WHY.detail}; the kubelet decides: a numeric USER above 0 runs, and a named one or root "
        "does not start (CreateContainerConfigError)"
    )
    alone = msgspec.structs.replace(shown(), fallback_reason=None)
    audit = await evaluate_object(tweak(minimal(), paths), alone, rule=effective_policy("Audit", inject="Never"))
    (finding,) = audit.findings
    assert finding.cause == "local"
    assert finding.detail.endswith(f": local: {asks}")
    silent = await evaluate_object(
        tweak(minimal(), paths),
        msgspec.structs.replace(shown(), fallback_reason=None),
        rule=effective_policy(inject="Never"),
    )
    assert [finding.cause for finding in silent.findings] == ["local"]
    verified = await evaluate_object(tweak(minimal(), paths), shown(user="1500"), rule=effective_policy(inject="Never"))
    assert verified.state == "compliant"


@pytest.mark.parametrize(
    ("found", "result"),
    [
        (shown(), "uid 1500 (USER not read, observed on a node 3 h ago)"),
        (shown(age=0), "uid 1500 (USER not read, observed on a node just now)"),
        (shown(user="1500", age=300), 'uid 1500 (USER "1500", observed on a node 5 min ago)'),
        (
            msgspec.structs.replace(shown(user="web", age=400_000), source="registry"),
            'uid 1500 (USER "web" in the image\'s /etc/passwd, as of 5 days ago)',
        ),
        (
            msgspec.structs.replace(shown(user="web", age=0), source="registry"),
            'uid 1500 (USER "web" in the image\'s /etc/passwd)',
        ),
    ],
)
async def test_who_said_so_and_when(found: Image, result: str) -> None:
    verdict = await evaluate_object(minimal(), found)
    assert describe_user(verdict.containers[0].subject) == result


async def test_a_finding_says_that_a_node_has_shown_it() -> None:
    verdict = await evaluate_object(minimal(), shown(0, 0))
    assert "USER not read, observed on a node 3 h ago" in verdict.findings[0].message
