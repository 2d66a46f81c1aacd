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
        "not read": (None, None, "the image was not read"),
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


OWN, PODS = "spec.containers[0].securityContext.", "spec.securityContext."
NON_ROOT_UNSET = (f"{OWN}runAsNonRoot", None, "the kubelet verifies nothing: it starts root as well")
GROUP_UNSET = (
    f"{OWN}runAsGroup", None, "its primary group is the one that the image's /etc/passwd gives the uid, else 0",
)  # fmt: skip
NUMBER = ("it runs as this uid, whatever the image's USER is", "it runs as root, whatever the image's USER is")
IMAGE_DECIDES = (f"{OWN}runAsUser", None, "the image's USER decides")
UNREAD = (USER, None, "the image was not read")


@table(
    ("paths", "user", "os", "expected"),
    {
        "nothing is set": ({}, None, "linux", [IMAGE_DECIDES, UNREAD, NON_ROOT_UNSET, GROUP_UNSET]),
        "a node has shown the uid alone": (
            {},
            User("", uid=7),
            "linux",
            [IMAGE_DECIDES, UNREAD, NON_ROOT_UNSET, GROUP_UNSET],
        ),
        "a name, and the Pod wants no root": (
            {f"{POD}.runAsNonRoot": True},
            parse_user("app"),
            "linux",
            [
                IMAGE_DECIDES,
                (
                    USER,
                    '"app"',
                    "a name: the runtime looks it up in the image's /etc/passwd, the kubelet does not and cannot verify it",
                ),
                (f"{PODS}runAsNonRoot", "true", "the kubelet starts it only where it can verify that it is not root"),
                GROUP_UNSET,
            ],
        ),
        "everything of the container's": (
            {f"{CONTAINER}.runAsUser": 0, f"{CONTAINER}.runAsGroup": 0, f"{CONTAINER}.runAsNonRoot": False},
            None,
            "linux",
            [
                (f"{OWN}runAsUser", "0", NUMBER[1]),
                (f"{OWN}runAsNonRoot", "false", NON_ROOT_UNSET[2]),
                (f"{OWN}runAsGroup", "0", "its primary group"),
            ],
        ),
        "the container's before the Pod's": (
            {
                f"{place}.{field}": number
                for number, place in ((5, CONTAINER), (6, POD))
                for field in ("runAsUser", "runAsGroup")
            },
            None,
            "linux",
            [
                (f"{OWN}runAsUser", "5", NUMBER[0]),
                NON_ROOT_UNSET,
                (f"{OWN}runAsGroup", "5", "its primary group"),
            ],
        ),
        "everything of the Pod's": (
            {
                **{f"{POD}.{field}": 6 for field in ("runAsUser", "runAsGroup", "fsGroup")},
                f"{POD}.runAsNonRoot": False,
                f"{POD}.supplementalGroups": [7, 8],
                "spec.hostUsers": False,
            },
            None,
            "linux",
            [
                (f"{PODS}runAsUser", "6", NUMBER[0]),
                (f"{PODS}runAsNonRoot", "false", NON_ROOT_UNSET[2]),
                (f"{PODS}runAsGroup", "6", "its primary group"),
                (
                    f"{PODS}fsGroup",
                    "6",
                    "a group of every process; volumes that support it are given to this group",
                ),
                (f"{PODS}supplementalGroups", "7, 8", "further groups of every process"),
                ("spec.hostUsers", "false", "uids are mapped: root in the container is nobody on the node"),
            ],
        ),
        "Windows without a name": (
            {f"{CONTAINER}.runAsGroup": 5},
            None,
            "windows",
            [
                (
                    f"{OWN}windowsOptions.runAsUserName",
                    None,
                    "the image's Windows user decides; numbers do not count on Windows",
                ),
                NON_ROOT_UNSET,
            ],
        ),
        "the container's Windows user": (
            {f"{CONTAINER}.windowsOptions.runAsUserName": "a", f"{POD}.windowsOptions.runAsUserName": "b"},
            None,
            "windows",
            [
                (f"{OWN}windowsOptions.runAsUserName", '"a"', "it runs as this Windows user, whatever the image says"),
                NON_ROOT_UNSET,
            ],
        ),
        "the Pod's Windows user": (
            {f"{CONTAINER}.windowsOptions.hostProcess": False, f"{POD}.windowsOptions.runAsUserName": "b"},
            None,
            "windows",
            [
                (f"{PODS}windowsOptions.runAsUserName", '"b"', "it runs as this Windows user, whatever the image says"),
                NON_ROOT_UNSET,
            ],
        ),
    },
)
def test_the_fields_in_their_order_to_the_letter(
    paths: dict[str, Any], user: User | None, os: str, expected: list[tuple[str, str | None, str]]
) -> None:
    pod = workload(tweak(minimal(), paths))
    found = identity_fields(pod, next(pod.slots()), user, os)
    assert [(each.field, each.value, each.effect) for each in found] == expected


@table(
    ("text", "value", "effect"),
    {
        "none": ("", '""', "an image without USER runs as root"),
        "root by number": ("0:5", '"0:5"', "it runs as root"),
        "a number": ("7", '"7"', "a number, which the kubelet can verify"),
    },
)
def test_an_images_user_to_the_letter(text: str, value: str, effect: str) -> None:
    assert fields_of({}, parse_user(text))[USER] == (value, effect)


@table(
    ("name", "expected"),
    {
        "the administrator": (
            "ContainerAdministrator",
            "container's runAsUserName (ContainerAdministrator) which will be",
        ),
        "anybody else": ("ContainerUser", ""),
        "an image that nobody read": (None, None),
    },
)
def test_what_the_kubelet_says_on_windows(name: str | None, expected: str | None) -> None:
    """By names alone, whatever the uid is."""
    paths: dict[str, Any] = {f"{POD}.runAsNonRoot": True, f"{CONTAINER}.runAsUser": 7}
    pod = workload(tweak(minimal(), paths | ({f"{POD}.windowsOptions.runAsUserName": name} if name else {})))
    result = refusal(pod, next(pod.slots()), None, "windows")
    assert result == expected if not expected else str(result).startswith(expected)
