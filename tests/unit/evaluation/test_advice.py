"""What a person is advised is what he can do, and names a number only where something stands for it."""

from typing import Any

import pytest

from tests.support.evaluation import NOW, evaluate_object, patched
from tests.support.images import Table, image, multi, platform_image, redis, unknown
from tests.support.pods import IMAGE, effective_policy, minimal, tweak, workload
from webhook.evaluation.evaluator import evaluate
from webhook.evaluation.finding import Finding
from webhook.image.source import Cause, Image

INIT = "spec.initContainers"
APP = "spec.containers.0.securityContext"
ROOT_INIT: dict[str, Any] = {"name": "setup", "image": IMAGE, "securityContext": {"runAsUser": 0}}


async def finding_about(paths: dict[str, Any], found: Image | None = None) -> Finding:
    """The first error of a Pod."""
    verdict = await evaluate_object(tweak(minimal(), paths), found or image("app"))
    error, *_ = [each for each in verdict.findings if each.severity == "error"]
    return error


@pytest.mark.parametrize(
    ("name", "reference", "title", "preset"),
    [
        ("istio-init", "mirror.example/istio/proxyv2:1.23", "Istio", "istio"),
        (
            "opentelemetry-auto-instrumentation-java",
            "ghcr.io/x/autoinstrumentation-java:2",
            "the OpenTelemetry operator",
            "opentelemetry",
        ),
        ("place-scripts", "gcr.io/tektoncd/shell:v0.60", "Tekton", "tekton"),
        ("wait", "quay.io/argoproj/argoexec:v3.5", "Argo Workflows", "argo-workflows"),
        (
            "init-permissions",
            "registry.gitlab.com/gitlab-org/gitlab-runner-helper:x86_64-v17",
            "GitLab Runner",
            "gitlab-runner",
        ),
        ("restore-wait", "velero/velero:v1.18.2", "Velero", "velero"),
    ],
)
async def test_what_an_injector_adds_is_the_platform_teams(name: str, reference: str, title: str, preset: str) -> None:
    """Never a number, which would break it."""
    found = await finding_about({INIT: [ROOT_INIT | {"name": name, "image": reference}]})
    assert f"{title} adds it, so that no manifest of yours can change it" in found.fix
    assert f"preset {preset} in the policy" in found.fix
    assert "runAsUser" not in found.fix


async def test_the_advice_for_a_mirrored_image_is_the_mirror_of_the_preset() -> None:
    """Where the policy has the preset already, asking for it is no advice."""
    init = ROOT_INIT | {"name": "istio-init", "image": "mirror.example/hub/istio/proxyv2:1.23"}
    rule = effective_policy(presets=["istio"])
    (error,) = (await evaluate_object(tweak(minimal(), {INIT: [init]}), image("1000"), rule=rule)).findings
    assert 'ask the platform team for "mirror.example/hub/istio" among the policy\'s presetMirrors' in error.fix
    rule = effective_policy(presets=["istio"], presetMirrors=["mirror.example/hub/istio"])
    assert (await evaluate_object(tweak(minimal(), {INIT: [init]}), image("1000"), rule=rule)).state != "denied"


async def test_a_chown_init_container_is_replaced_by_an_fs_group() -> None:
    """Another uid would only make it fail."""
    found = await finding_about({INIT: [ROOT_INIT | {"command": ["sh", "-c", "chown -R 1000:1000 /data"]}]})
    assert found.fix.startswith("remove it and set spec.securityContext.fsGroup")
    assert 'a NonRootException for the container "setup"' in found.fix


async def test_beside_a_container_with_a_uid_that_uid_is_advised() -> None:
    """Whether the spec says it or injection does."""
    found = await finding_about({INIT: [ROOT_INIT], "spec.containers.0.securityContext.runAsUser": 1234})
    assert found.fix == (
        "set spec.initContainers[0].securityContext.runAsUser: 1234, as the Pod's other containers have it"
    )
    assert ".runAsUser: 1000, as the Pod's" in (await finding_about({INIT: [ROOT_INIT]})).fix


async def test_a_regular_container_is_not_given_its_neighbours_uid() -> None:
    """It is a program of its own, whose uid nobody knows."""
    sidecar = {"name": "sidecar", "image": IMAGE, "securityContext": {"runAsUser": 1234}}
    found = await finding_about({"spec.containers.1": sidecar}, image(""))
    assert found.container == "app"
    assert "1234" not in found.fix


async def test_the_advice_to_a_debugger_is_a_kubectl_debug_command() -> None:
    """Nobody can write spec.ephemeralContainers."""
    debugger = {"name": "debugger", "image": IMAGE, "targetContainerName": "app", "securityContext": {"runAsUser": 0}}
    found = await finding_about(
        {"spec.ephemeralContainers": [debugger], "spec.containers.0.securityContext.runAsUser": 1234}
    )
    assert found.fix == (
        "take the uid of the container that you debug, 1234: kubectl debug --custom=FILE, where FILE holds "
        '{"securityContext": {"runAsUser": 1234, "runAsNonRoot": true}}'
    )


async def test_the_advice_for_a_root_image_is_the_uid_that_it_is_made_for() -> None:
    """Where its layers say so."""
    found = await finding_about({}, redis())
    assert found.fix == (
        "set spec.containers[0].securityContext.runAsUser: 999, runAsGroup: 1000, spec.securityContext.fsGroup: 1000: "
        "redis is uid 999 in /etc/passwd, owns /data, docker-entrypoint.sh steps down to it by gosu (high confidence)"
    )
    assert "USER 1001" not in (await finding_about({}, image(""))).fix


@pytest.mark.parametrize("user", ["", "ContainerUser"])
async def test_the_advice_for_a_windows_image_is_to_say_so(user: str) -> None:
    """The API server refuses a runAsUser beside it."""
    found = await finding_about({}, multi(platform_image(user, None, platform="windows/amd64")))
    assert found.fix.startswith("the image is for Windows: set spec.os.name: windows")
    assert "1001" not in found.message


async def test_the_advice_to_a_debugger_names_the_image_as_well() -> None:
    """Where it was not patched."""
    debugger = {"name": "debugger", "image": IMAGE}
    found = await finding_about({"spec.ephemeralContainers": [debugger], "spec.securityContext.runAsNonRoot": True})
    assert found.container == "app"
    verdict = await evaluate_object(
        tweak(minimal(), {"spec.ephemeralContainers": [debugger], "spec.securityContext.runAsNonRoot": True}),
        image("app"),
    )
    (fix,) = (each.fix for each in verdict.findings if each.container == "debugger")
    assert fix.startswith(
        'use kubectl debug --custom=FILE, where FILE holds {"securityContext": {"runAsUser": 1000, "runAsNonRoot": true}}'
    )


async def test_the_platform_in_question_is_quoted() -> None:
    """Not the first of the index."""
    found = await finding_about({}, multi(platform_image("app"), platform_image("0", platform="linux/arm64")))
    assert 'USER "0" on "linux/arm64") would run as root' in found.detail


async def test_platforms_that_disagree_get_one_advice() -> None:
    """No number is right for both."""
    other = platform_image("app", "app:x:999:999::/:", platform="linux/arm64")
    pod = tweak(minimal(), {"spec.securityContext.runAsNonRoot": True})
    verdict = await evaluate_object(pod, multi(platform_image("app"), other))
    assert [each.rule for each in verdict.findings] == ["platforms-disagree"]


async def test_a_listed_root_image_is_assigned_what_it_is_made_for() -> None:
    """With the fsGroup that its volume needs; one of which that is not evident stays refused."""
    rule = effective_policy(
        rootImages="Assign", assign={"uid": "FromImage", "images": ["registry.example/*"]}, defaults=["runAsNonRoot"]
    )
    pod = tweak(
        minimal(),
        {
            "spec.volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            "spec.containers.0.volumeMounts": [{"name": "data", "mountPath": "/data"}],
        },
    )
    once = patched(pod, await evaluate_object(pod, redis(), rule=rule))
    assert once["spec"]["containers"][0]["securityContext"] == {
        "runAsUser": 999,
        "runAsGroup": 1000,
        "runAsNonRoot": True,
    }
    assert once["spec"]["securityContext"] == {"fsGroup": 1000, "fsGroupChangePolicy": "OnRootMismatch"}
    assert (await evaluate_object(pod, image(""), rule=rule)).state == "denied"


async def test_an_image_that_only_nodes_have_is_local() -> None:
    """With imagePullPolicy Never no registry need have it."""
    pod = tweak(minimal(), {"spec.containers.0.imagePullPolicy": "Never"})
    causes: tuple[Cause, ...] = ("notFound", "unauthorized", "unreachable")
    for cause in causes:
        (found,) = (await evaluate_object(pod, unknown(cause))).findings
        assert found.cause == "local"
        assert "knownImages" in found.fix
    (found,) = (await evaluate_object(pod, unknown("rateLimited"))).findings
    assert found.cause == "rateLimited"


async def test_a_preset_excuses_no_container_of_another_kind() -> None:
    """Whoever debugs under an injector's name is not the injector."""
    debugger = ROOT_INIT | {"name": "istio-init", "image": "docker.io/istio/proxyv2:1.23"}
    rule = effective_policy(presets=["istio"])
    verdict = await evaluate_object(tweak(minimal(), {"spec.ephemeralContainers": [debugger]}), rule=rule)
    assert verdict.state == "denied"


PLATFORM_TEAM = (
    "the template of its owner does not have it, so that something adds it to the Pods, and no manifest of yours can "
    "change it: ask the platform team for another image or user where it is added, or a NonRootException for the container "
)
WITHOUT = "set spec.containers[0].securityContext.runAsUser to a uid above 0 under which the image can run"


@pytest.mark.parametrize(
    ("paths", "found", "fix"),
    [
        pytest.param(
            {f"{APP}.runAsUser": 0}, "app", f"{WITHOUT}, or remove it where the image has a numeric USER", id="0"
        ),
        pytest.param(
            {},
            "",
            f"{WITHOUT} (nonroot inspect tells what it is made for), or end its Dockerfile with a numeric USER",
            id="no USER",
        ),
        pytest.param(
            {INIT: [ROOT_INIT | {"name": "istio-init", "image": "docker.io/istio/proxyv2:1"}]},
            "app",
            "Istio adds it, so that no manifest of yours can change it: ask the platform team for the preset istio in the "
            "policy, a NonRootException, or another image or user in the settings of Istio",
            id="an injector",
        ),
        *(
            pytest.param(
                {INIT: [ROOT_INIT | {field: ["sh", "-c", f"{program} 7 /data"]}]},
                "app",
                "remove it and set spec.securityContext.fsGroup, which gives volumes to the group of the other containers; "
                'or allow it by a NonRootException for the container "setup"',
                id=f"{program} among its {field}",
            )
            for field, program in (("command", "chown"), ("args", "chgrp"), ("args", "chmod"))
        ),
        *(
            pytest.param(
                {INIT: [ROOT_INIT | {"name": "n" * length, "command": ["chown"]}]},
                "app",
                "remove it and set spec.securityContext.fsGroup, which gives volumes to the group of the other containers; "
                f'or allow it by a NonRootException for the container "{shown}"',
                id=f"chown in a container with a name of {length} letters",
            )
            for length, shown in ((63, "n" * 63), (64, "n" * 63 + "…"))
        ),
        pytest.param(
            {"spec.ephemeralContainers": [ROOT_INIT], f"{APP}.runAsNonRoot": False},
            "7",
            "take the uid of the container that you debug, 7: kubectl debug --custom=FILE, where FILE holds "
            '{"securityContext": {"runAsUser": 7, "runAsNonRoot": true}}',
            id="a debugger of no container in particular",
        ),
        pytest.param(
            {
                "spec.ephemeralContainers": [ROOT_INIT | {"targetContainerName": "app"}],
                "spec.containers.1": {"name": "b", "image": "a.io/b", "securityContext": {"runAsUser": 9}},
            },
            "7",
            "take the uid of the container that you debug, 7: kubectl debug --custom=FILE, where FILE holds "
            '{"securityContext": {"runAsUser": 7, "runAsNonRoot": true}}',
            id="a debugger of one of two",
        ),
        pytest.param(
            {
                "spec.ephemeralContainers": [ROOT_INIT],
                "spec.containers.1": {"name": "b", "image": "a.io/b", "securityContext": {"runAsUser": 9}},
            },
            "7",
            "take the uid of the container that you debug: kubectl debug --custom=FILE, where FILE holds "
            '{"securityContext": {"runAsUser": UID, "runAsNonRoot": true}}',
            id="a debugger of either of two",
        ),
    ],
)
async def test_the_next_step_to_the_letter(paths: dict[str, Any], found: str, fix: str) -> None:
    assert (await finding_about(paths, image(found))).fix == fix


async def test_what_something_adds_is_the_platform_teams_unless_a_person_does() -> None:
    """By its name in full, as far as a name goes."""

    async def fix(paths: dict[str, Any]) -> str:
        verdict = await evaluate(
            workload(tweak(minimal(), paths)),
            effective_policy(),
            Table({IMAGE: image("")}),
            namespace="shop",
            budget=1.0,
            now=NOW,
            added=True,
        )
        return verdict.findings[-1].fix

    assert await fix({"spec.containers.0.name": "a" * 63}) == f'{PLATFORM_TEAM}"{"a" * 63}"'
    assert await fix({"spec.containers.0.name": "a" * 64}) == f'{PLATFORM_TEAM}"{"a" * 63}…"'
    assert "kubectl debug" in await fix({"spec.ephemeralContainers": [ROOT_INIT]})


async def test_what_an_image_is_made_for_is_not_evident_where_nobody_has_read_it() -> None:
    for found, uid in ((redis(), 999), (image(""), None), (unknown("pending"), None)):
        (container,) = (await evaluate_object(minimal(), found)).containers
        suggested = container.subject.suggested
        assert (suggested.uid if suggested else None) == uid
