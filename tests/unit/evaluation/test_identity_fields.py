"""Which fields decide who a container runs as, and what each of them does."""

from typing import Any

from tests.support.pods import minimal, tweak, workload
from tests.support.tables import table
from webhook.evaluation.identity_fields import USER, identity_fields, refusal
from webhook.image.config import User, parse_user

CONTAINER, POD = "spec.containers.0.securityContext", "spec.securityContext"


def fields_of(paths: dict[str, Any], user: User | None, os: str = "linux") -> dict[str, tuple[str | None, str]]:
    pod = workload(tweak(minimal(), paths))
    return {each.field: (each.value, each.effect) for each in identity_fields(pod, next(pod.slots()), user, os)}


@table(
    ("user", "value", "effect"),
    {
        "none": ("", '""', "an image without USER runs as root"),
        "a name": ("app", '"app"', "the kubelet does not and cannot verify it"),
        "root by number": ("0", '"0"', "it runs as root"),
        "a number": ("1000:1000", '"1000:1000"', "a number, which the kubelet can verify"),
        "not read": (None, None, "nobody has read the image"),
    },
)
def test_an_image_decides_where_no_field_does(user: str | None, value: str | None, effect: str) -> None:
    fields = fields_of({}, None if user is None else parse_user(user))
    assert fields["spec.containers[0].securityContext.runAsUser"] == (None, "the image's USER decides")
    assert fields[USER][0] == value
    assert effect in fields[USER][1]


def test_a_containers_own_field_comes_before_the_pods() -> None:
    """And the place says which of them it is; with a number the image is not mentioned."""
    fields = fields_of({f"{CONTAINER}.runAsUser": 0, f"{POD}.runAsUser": 7, f"{POD}.runAsNonRoot": True}, None)
    assert fields["spec.containers[0].securityContext.runAsUser"][1].startswith("it runs as root")
    assert fields["spec.securityContext.runAsNonRoot"][0] == "true"
    assert USER not in fields
    fields = fields_of({f"{POD}.runAsUser": 7, f"{CONTAINER}.runAsNonRoot": False}, None)
    assert fields["spec.securityContext.runAsUser"] == ("7", "it runs as this uid, whatever the image's USER is")
    assert fields["spec.containers[0].securityContext.runAsNonRoot"][0] == "false"


def test_groups_are_listed_as_far_as_they_are_set() -> None:
    fields = fields_of({f"{POD}.fsGroup": 5, f"{POD}.supplementalGroups": [6, 7], f"{POD}.runAsGroup": 8}, None)
    assert [fields[f"spec.securityContext.{name}"][0] for name in ("fsGroup", "supplementalGroups", "runAsGroup")] == [
        "5", "6, 7", "8",
    ]  # fmt: skip
    assert fields_of({"spec.hostUsers": False}, None)["spec.hostUsers"][0] == "false"
    assert "spec.hostUsers" not in fields_of({}, None)


def test_windows_has_names() -> None:
    fields = fields_of({f"{POD}.windowsOptions.runAsUserName": "ContainerUser"}, None, "windows")
    assert fields["spec.securityContext.windowsOptions.runAsUserName"][0] == '"ContainerUser"'
    assert not [name for name in fields if name.endswith(("runAsUser", "runAsGroup"))]
    assert "do not count on Windows" in str(fields_of({}, None, "windows"))


@table(
    ("paths", "user", "start"),
    {
        "a name that must not be root": (
            {f"{POD}.runAsNonRoot": True},
            "app",
            "container has runAsNonRoot and image has",
        ),
        "a name that may be": ({}, "app", ""),
        "a number": ({f"{POD}.runAsNonRoot": True}, "7", ""),
        "an image that nobody read": ({f"{POD}.runAsNonRoot": True}, None, None),
        "one that does not matter": ({f"{POD}.runAsNonRoot": True, f"{POD}.runAsUser": 7}, None, ""),
    },
)
def test_what_the_kubelet_says(paths: dict[str, Any], user: str | None, start: str | None) -> None:
    """Empty where it starts the container, None where that depends on what nobody has read."""
    pod = workload(tweak(minimal(), paths))
    result = refusal(pod, next(pod.slots()), None if user is None else parse_user(user), "linux")
    assert result == start if not start else str(result).startswith(start)
