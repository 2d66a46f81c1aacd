"""Which injected field keeps a container from starting, told from what the kubelet reports of it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.pods import DIGEST, minimal, tweak
from webhook.evaluation import start_failure
from webhook.evaluation.start_failure import StartFailure
from webhook.image.image_identity import CapableProgram, ImageFacts, WorkingDirectory
from webhook.policy.types import Assign, ImageDefaults, PolicySpec
from webhook.workload import container_status
from webhook.workload.annotations import ANNOTATION
from webhook.workload.podspec import Capabilities, Container, SecurityContext, VolumeMount

NOW = datetime(2026, 6, 1, 12, 0, 30, tzinfo=UTC)
ALL = ["allowPrivilegeEscalation", "capabilities", "runAsNonRoot", "runAsUser", "seccompProfile"]
BEGAN = "2026-06-01T12:00:00Z"
RUNC = "failed to create containerd task: OCI runtime create failed: runc create failed: unable to start container process: "


def died(code: int, message: str = "", began: str = BEGAN, ended: str = "2026-06-01T12:00:03Z") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": message, "startedAt": began, "finishedAt": ended}}


def waits(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def pod(
    state: dict[str, Any], last: dict[str, Any] | None = None, fields: list[str] | None = None
) -> container_status.Pod:
    """A Pod whose one container was given some fields, in some state."""
    record = [{"container": "app", "fields": ALL if fields is None else fields, "digest": DIGEST}]
    status = {"name": "app", "imageID": f"registry.example/app@{DIGEST}", "state": state, "lastState": last or {}}
    made = tweak(
        minimal(), {"metadata.annotations": {ANNOTATION: json.dumps(record)}, "status.containerStatuses": [status]}
    )
    return container_status.decode(json.dumps(made).encode())


@pytest.mark.parametrize(
    ("state", "fields", "proof"),
    [
        (
            waits(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image has non-numeric user (app), cannot …",
            ),
            ("runAsNonRoot",),
            "words",
        ),
        (
            died(
                128,
                f'{RUNC}error during container init: exec: "/coredns": operation not permitted',
                "1970-01-01T00:00:00Z",
            ),
            ("capabilities", "allowPrivilegeEscalation", "seccompProfile"),
            "words",
        ),
        (waits("CreateContainerError", "mkdir /proc/sys/x: operation not permitted"), "capabilities", "unpatched"),
        (died(1, 'sudo: The "no new privileges" flag is set'), "allowPrivilegeEscalation", "unpatched"),
        (
            waits("RunContainerError", f'{RUNC}chdir to cwd ("/srv") set in config.json failed: permission denied'),
            "runAsUser",
            "unpatched",
        ),
        (died(126), "capabilities", "unpatched"),
        (died(127), "runAsUser", "unpatched"),
        (died(1, "sh: can't execute: Permission denied"), "runAsUser", "unpatched"),
        (died(1, ended=BEGAN), ("capabilities",), "unpatched"),
        (died(255, ended="2026-06-01T12:00:01Z"), ("capabilities",), "unpatched"),
        (died(1), (), "facts"),
        (died(1, "no such file", ended=BEGAN), (), "facts"),
        (died(3, ended=BEGAN), (), "facts"),
    ],
)
def test_the_field_follows_from_the_state(state: dict[str, Any], fields: Any, proof: str) -> None:
    for each in (pod(state), pod(waits("CrashLoopBackOff", "back-off 10s restarting failed container"), state)):
        (found,) = start_failure.failures(each)
        assert found.fields == fields if isinstance(fields, tuple) else found.fields[0] == fields
        assert (found.proof, found.container.name, found.digest) == (proof, "app", DIGEST)


@pytest.mark.parametrize(
    "quiet",
    [
        pod({"running": {"startedAt": BEGAN}}),
        pod(died(0)),
        pod(died(126), fields=[]),
        pod(died(126, ended="2026-06-01T12:00:11Z")),
        pod(waits("ImagePullBackOff", "permission of no kind")),
        pod(waits("ContainerCreating", "")),
        pod(waits("CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: …)")),
    ],
    ids=["runs", "ended well", "no field", "later", "pull", "begins", "root, as meant"],
)
def test_what_our_fields_do_not_cause_is_not_reported(quiet: container_status.Pod) -> None:
    assert list(start_failure.failures(quiet)) == []


def test_it_names_only_fields_that_were_injected() -> None:
    (found,) = start_failure.failures(pod(died(126), fields=["seccompProfile", "somethingElse", "runAsUser"]))
    assert found.fields == ("seccompProfile", "runAsUser")


def test_the_containers_words_are_bounded_and_printable() -> None:
    (found,) = start_failure.failures(pod(died(126, "a\x1b[31m" + "operation not permitted " * 100)))
    assert found.symptom.startswith("dies at once with exit code 126: a\\x1b[31moperation not permitted")
    assert len(found.symptom) < 260
    assert found.given == tuple(ALL)


def test_each_container_that_does_not_start_is_reported_once() -> None:
    """By its state, or else by how it ended before; one that was given nothing is none of ours."""
    names = ("plain", "one", "two")
    record = [{"container": name, "fields": ALL} for name in names[1:]]
    status = [{"name": name, "imageID": "", "state": died(126), "lastState": died(127, ended=BEGAN)} for name in names]
    made = tweak(
        minimal(),
        {
            "spec.containers": [{"name": name, "image": "a.io/b"} for name in names],
            "metadata.annotations": {ANNOTATION: json.dumps(record)},
            "status.containerStatuses": status,
        },
    )
    found = list(start_failure.failures(container_status.decode(json.dumps(made).encode())))
    assert [each.container.name for each in found] == ["one", "two"]
    assert {each.symptom for each in found} == {"dies at once with exit code 126"}


@pytest.mark.parametrize(("ended", "counts"), [("2026-06-01T12:00:10Z", True), ("2026-06-01T12:00:11Z", False)])
def test_the_first_seconds_are_ten(ended: str, counts: bool) -> None:
    """Whoever lives longer has started."""
    assert bool(list(start_failure.failures(pod(died(126, ended=ended))))) is counts
    assert start_failure.started(pod(died(126, ended=ended)), NOW) is not counts
    running = {"running": {"startedAt": ended}}
    at = datetime(2026, 6, 1, 12, 0, 20, 500_000, tzinfo=UTC)
    assert start_failure.started(pod(running), at) is counts
    assert not start_failure.started(pod({"running": {"startedAt": "2026-06-01T12:00:10.500000Z"}}), at)


@pytest.mark.parametrize("missing", ["startedAt", "finishedAt"])
def test_a_container_without_one_of_its_times_was_never_started(missing: str) -> None:
    state = died(1)
    del state["terminated"][missing]
    (found,) = start_failure.failures(pod(state))
    assert found.fields == ("capabilities",)


@pytest.mark.parametrize(
    ("state", "last", "started"),
    [
        ({"running": {"startedAt": BEGAN}}, None, True),
        ({"running": {"startedAt": "2026-06-01T12:00:25Z"}}, None, False),
        ({"running": {"startedAt": "2026-06-01T12:00:25Z"}}, died(1, ended="2026-06-01T12:00:20Z"), True),
        ({"running": {"startedAt": "2026-06-01T12:00:25Z"}}, died(1), False),
        (died(0), None, True),
        (died(1), None, False),
        (waits("ContainerCreating", ""), None, False),
    ],
)
def test_a_pod_has_started_once_its_first_seconds_are_over(
    state: dict[str, Any], last: dict[str, Any] | None, started: bool
) -> None:
    assert start_failure.started(pod(state, last), NOW) is started


def test_a_container_that_the_kubelet_says_nothing_of_has_not_started() -> None:
    record = json.dumps([{"container": "app", "fields": ALL}])
    made = tweak(minimal(), {"metadata.annotations": {ANNOTATION: record}})
    assert not start_failure.started(container_status.decode(json.dumps(made).encode()), NOW)


@pytest.mark.parametrize(
    "text", ["", "[]", "yes", '{"container": "app"}', '[{"container": 5}]', '[{"fields": ["x"]}]', "[" * 5000]
)
def test_an_annotation_that_is_none_of_ours_says_nothing(text: str) -> None:
    made = tweak(minimal(), {"metadata.annotations": {ANNOTATION: text}})
    assert container_status.injected_fields(container_status.decode(json.dumps(made).encode())) == {}


DROPS = SecurityContext(capabilities=Capabilities(drop=("ALL",)))
BINDS = SecurityContext(capabilities=Capabilities(drop=("ALL",), add=("NET_BIND_SERVICE",)))


@pytest.mark.parametrize(
    ("container", "spec", "fields"),
    [
        (Container(security_context=BINDS), PolicySpec(), ()),
        (Container(command=("sh", "-c", "exec sudo /app")), PolicySpec(), ("allowPrivilegeEscalation",)),
        (Container(command=("podman",)), PolicySpec(), ()),
        (Container(args=("sudo",)), PolicySpec(), ()),
        (Container(), PolicySpec(setuid_programs=("sudo",)), ("allowPrivilegeEscalation",)),
        (Container(security_context=DROPS), PolicySpec(), ("capabilities",)),
        (Container(security_context=DROPS, command=("/other",)), PolicySpec(), ()),
        (Container(security_context=BINDS, command=("/raw",)), PolicySpec(), ("capabilities",)),
        (Container(security_context=DROPS, command=("/lax",)), PolicySpec(), ()),
    ],
)
def test_what_the_layers_say_of_the_start_is_blamed(
    container: Container, spec: PolicySpec, fields: tuple[str, ...]
) -> None:
    facts = ImageFacts(
        command_line=("/usr/bin/coredns",),
        capable=(
            CapableProgram("/usr/bin/coredns", ("NET_BIND_SERVICE",), effective=True),
            CapableProgram("/raw", ("NET_RAW",), effective=True),
            CapableProgram("/lax", ("NET_RAW",)),
        ),
        setuid=("/usr/bin/sudo", "/bin/su"),
    )
    failure = StartFailure(container, DIGEST, tuple(ALL), (), "", "facts")
    assert start_failure.blamed(failure, facts, spec) == fields
    none = StartFailure(container, DIGEST, ("seccompProfile",), (), "", "facts")
    assert start_failure.blamed(none, facts, spec) == ()


@pytest.mark.parametrize(
    ("container", "mode", "blamed"),
    [
        (Container(security_context=SecurityContext(run_as_user=4242)), 0o700, True),
        (Container(security_context=SecurityContext(run_as_user=1500)), 0o700, False),  # its own
        (Container(security_context=SecurityContext(run_as_user=4242)), 0o750, False),  # it may be of that group
        (Container(security_context=SecurityContext(run_as_user=4242)), 0o711, False),
        (Container(), 0o700, False),
        (Container(security_context=SecurityContext(run_as_user=4242), working_dir="/"), 0o700, False),
        (
            Container(
                security_context=SecurityContext(run_as_user=4242), volume_mounts=(VolumeMount("data", "/home/app"),)
            ),
            0o700,
            False,
        ),
    ],
)
def test_a_working_directory_that_is_closed_to_the_uid_is_blamed(container: Container, mode: int, blamed: bool) -> None:
    facts = ImageFacts(working_directory=WorkingDirectory("/home/app", 1500, 1500, mode))
    failure = StartFailure(container, DIGEST, tuple(ALL), (), "", "facts")
    assert start_failure.blamed(failure, facts, PolicySpec()) == (("runAsUser",) if blamed else ())


@pytest.mark.parametrize(
    ("field", "image", "spec", "line"),
    [
        (
            "capabilities",
            "nginx:1.27",
            PolicySpec(),
            (
                'imageDefaults: [{images: ["docker.io/library/nginx:*"], '
                "defaults: [runAsNonRoot, allowPrivilegeEscalation, seccompProfile]}]"
            ),
        ),
        (
            "seccompProfile",
            f"r.example/app@{DIGEST}",
            PolicySpec(image_defaults=(ImageDefaults(("r.example/*",), ("seccompProfile",)),)),
            'imageDefaults: [{images: ["r.example/app@*"], defaults: []}]',
        ),
        (
            "runAsNonRoot",
            "r.example/app:1",
            PolicySpec(),
            'knownImages: [{image: "r.example/app:*", uid: UID}], so that the uid of its USER is injected in its place',
        ),
        ("runAsUser", "r.example/app:1", PolicySpec(), 'exemptions: {images: ["r.example/app:*"]}'),
        (
            "runAsUser",
            "redis:7",
            PolicySpec(root_images="Assign", assign=Assign("FromImage", ("redis*",))),
            'assign.images without "docker.io/library/redis:*"',
        ),
        ("runAsUser", "Not An Image", PolicySpec(), 'exemptions: {images: ["Not An Image"]}'),
    ],
)
def test_the_remedy_is_a_line_of_the_policy(field: str, image: str, spec: PolicySpec, line: str) -> None:
    assert start_failure.remedy(field, image, spec) == line
