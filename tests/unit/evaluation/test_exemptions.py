"""An exemption drops the findings that it names and changes nothing else; what is about the whole Pod stays said of it."""

from typing import Any

import msgspec

from tests.support.evaluation import evaluate_object, patched
from tests.support.images import image, unknown
from tests.support.pods import IMAGE, Object, effective_policy, minimal, tweak
from tests.support.tables import table
from webhook.image.source import Image, Unknown
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException

OWN = "spec.containers.0.securityContext"
CLAIM = {
    "spec.volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "x"}}],
    "spec.containers.0.volumeMounts": [{"name": "d", "mountPath": "/d"}],
}
ISTIO = {"name": "istio-init", "image": "docker.io/istio/proxyv2:1.20", "securityContext": {"runAsUser": 0}}


def exception(**spec: Any) -> NonRootException:
    return NonRootException(Metadata("e", "default"), msgspec.convert({"reason": "because", **spec}, ExceptionSpec))


def pod_context(pod: Object) -> dict[str, Any] | None:
    found: dict[str, Any] | None = pod["spec"].get("securityContext")
    return found


async def test_an_exception_for_a_warning_leaves_the_cure() -> None:
    """Seen before: one for volume-permissions turned a Pod that injection cures into one that is refused."""
    pod = tweak(minimal(), {f"{OWN}.runAsNonRoot": True} | CLAIM)
    exceptions = (exception(rules=["volume-permissions"]),)
    verdict = await evaluate_object(pod, image("app"), exceptions=exceptions)
    assert (verdict.state, [each.rule for each in verdict.findings]) == ("fixable", ["named-user"])
    cured = await evaluate_object(patched(pod, verdict), image("app"), exceptions=exceptions)
    assert (cured.state, cured.findings) == ("compliant", ())


@table(
    ("exceptions", "presets", "told"),
    {
        "nothing is exempt": ((), [], "app"),
        "the first container by a preset": ((), ["istio"], "istio-init"),
        "the first container by an exception": ((exception(containers=["istio-init"]),), [], "app"),
        "all containers from another rule": ((exception(rules=["volume-permissions"]),), ["istio"], "istio-init"),
        "the first container from that rule": (
            (exception(containers=["istio-init"], rules=["group-without-user", "root-user"]),),
            [],
            "app",
        ),
        "all containers": ((exception(),), [], None),
        "all containers from that rule": ((exception(rules=["group-without-user"]),), ["istio"], None),
    },
)
async def test_a_rule_about_the_whole_pod_is_dropped_only_where_all_containers_are_exempt(
    exceptions: tuple[NonRootException, ...], presets: list[str], told: str | None
) -> None:
    """Seen before: it vanished with the first container."""
    paths = {"spec.securityContext.runAsGroup": 5, f"{OWN}.runAsUser": 1000}
    pod = tweak(minimal(), paths | ({"spec.initContainers": [ISTIO]} if told != "app" or exceptions else {}))
    verdict = await evaluate_object(pod, rule=effective_policy(presets=presets), exceptions=exceptions)
    found = [each.container for each in verdict.findings if each.rule == "group-without-user"]
    assert found == ([told] if told else [])
    assert (verdict.state == "denied") is (told is not None)


async def test_token_files_are_reported_for_the_first_container_that_is_not_exempt() -> None:
    paths: dict[str, Any] = {
        "spec.volumes": [{"name": "t", "projected": {}}],
        "spec.containers.1": {"name": "b", "image": IMAGE},
    }
    verdict = await evaluate_object(
        tweak(minimal(), paths), exceptions=(exception(containers=["app"], rules=["token-file-mode"]),)
    )
    assert [(each.rule, each.container) for each in verdict.findings] == [("token-file-mode", "b")]


@table(
    ("sibling", "exceptions", "group"),
    {
        "one that is known": (image("app"), (), True),
        "an unknown one": (unknown("unreachable"), (), False),
        "an exempted root": (image(""), (exception(containers=["b"]),), False),
        "one that is exempt from root-image": (image(""), (exception(containers=["b"], rules=["root-image"]),), False),
        "one that is refused": (image(""), (), False),
    },
)
async def test_an_fs_group_is_injected_beside_none_but_known_containers(
    sibling: Image | Unknown, exceptions: tuple[NonRootException, ...], group: bool
) -> None:
    """All containers get it. Where it is not injected, the volume is warned of, which it would have cured."""
    pod = tweak(minimal(), CLAIM | {"spec.containers.1": {"name": "b", "image": "a.io/b"}})
    images = {IMAGE: image("app"), "a.io/b": sibling}
    verdict = await evaluate_object(pod, images, rule=effective_policy(fsGroup=3000), exceptions=exceptions)
    after = pod_context(patched(pod, verdict))
    assert after == ({"fsGroup": 3000, "fsGroupChangePolicy": "OnRootMismatch"} if group else None)
    (app,) = (each for each in verdict.containers if each.subject.slot.container.name == "app")
    assert [app.fixes(each) for each in app.findings if each.rule == "volume-permissions"] == [group]
