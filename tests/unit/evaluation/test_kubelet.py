"""The prediction of the kubelet's own check, against its own unit tests and the truth table of USER."""

import pytest

from tests.support.tables import table
from webhook.evaluation.kubelet import needs_image, never_root, refusal
from webhook.image.config import parse_user
from webhook.workload.workload import Effective

A = "container's runAsUser breaks non-root policy"
B = "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root"
C = "container has runAsNonRoot and image will run as root"
D = (
    "container has runAsNonRoot and image has an invalid user id ({}). "
    "(Must be 1-(2147483647)): must be between 0 and 2147483647, inclusive"
)


def effective(non_root: bool | None = None, user: int | None = None, windows: str | None = None) -> Effective:
    """An effective security context."""
    return Effective(user, None, non_root, "container" if user is not None else "image", windows)


@table(
    ("non_root", "user", "image", "error"),
    {  # kubernetes pkg/kubelet/kuberuntime/security_context_others_test.go; "N" runAsNonRoot, "R" runAsUser
        "nothing set, image uid 0": (None, None, "0", None),
        "N true, R 1000": (True, 1000, None, None),
        "N unset, R 0": (None, 0, None, None),
        "N false, image uid 0": (False, None, "0", None),
        "N false, R 0": (False, 0, None, None),
        "N true, image uid 1000": (True, None, "1000", None),
        "N true, image uid 2147483647": (True, None, "2147483647", None),
        "N true, R 0": (True, 0, None, A),
        "N true, image uid 0": (True, None, "0", C),
        "N true, image name test": (True, None, "test", B.format("test")),
        "N true, image uid 2147483648": (True, None, "2147483648", D.format(2147483648)),
        "N true, image uid -1000": (True, None, "-1000", D.format(-1000)),
        "N true, R 1000, image uid 0 is not examined": (True, 1000, "0", None),
        "N true, image without USER is uid 0": (True, None, "", C),
    },
)
def test_the_kubelets_own_cases(non_root: bool | None, user: int | None, image: str | None, error: str | None) -> None:
    """Word for word, without the Pod's name at the end."""
    found = None if image is None else parse_user(image)
    assert refusal(effective(non_root, user), found, "linux") == error


@table(
    ("text", "error"),
    {  # runAsNonRoot true, runAsUser unset
        **{f"{text!r} is root": (text, C) for text in ("", ":1000", ":", "0", "00", "+0", "-0", "0:0", "0:anything")},
        **{
            f"{text!r} is a number": (text, None)
            for text in ("1000", "01000", "+1000", "1000:", "1000:2000", "1:2:3", "2147483647")
        },
        **{
            f"{text!r} is out of range": (text, D.format(int(text)))
            for text in ("-1000", "2147483648", "4294967295", "4294967296", "9223372036854775807")
        },
        **{
            f"{text!r} is a name": (text, B.format(text))
            for text in (
                *("9223372036854775808", "99999999999999999999", "root", "app", "Root", "0x0", "0b0", "0_0", "1e3"),
                *("1000.0", " 0", "0 ", "0\t", "1000\n", "app ", "0\0", "١٠٠٠", "１０００"),
            )
        },
        "of name:group the left half is the name": ("app:grp", B.format("app")),
    },
)
def test_the_truth_table_of_user(text: str, error: str | None) -> None:
    """Every form of USER that an image may carry."""
    assert refusal(effective(non_root=True), parse_user(text), "linux") == error


@table(
    ("non_root", "windows", "image", "error"),
    {
        "runAsNonRoot unset": (None, "ContainerAdministrator", None, None),
        "runAsNonRoot false": (False, None, "ContainerAdministrator", None),
        "the administrator by the spec": (
            True,
            "ContainerAdministrator",
            None,
            "runAsUserName (ContainerAdministrator)",
        ),
        "in any case of letters": (True, "cOnTaInErAdMiNiStRaToR", None, "runAsUserName (cOnTaInErAdMiNiStRaToR)"),
        "another name hides the image's": (True, "ContainerUser", "ContainerAdministrator", None),
        "the administrator by the image": (True, None, "ContainerAdministrator", "runAsUser (ContainerAdministrator)"),
        "in any case in the image": (True, None, "containeradministrator", "runAsUser (containeradministrator)"),
        "no USER": (True, None, "", None),
        "a number": (True, None, "0", None),
        "root is nobody there": (True, None, "root", None),
        "an image that nobody read": (True, None, None, None),
    },
)
def test_the_windows_branch(non_root: bool | None, windows: str | None, image: str | None, error: str | None) -> None:
    """A name alone decides; runAsUser 0 is not even looked at."""
    found = None if image is None else parse_user(image)
    answer = refusal(effective(non_root, 0, windows), found, "windows")
    if error is None:
        assert answer is None
    else:
        assert answer == f"container's {error} which will be regarded as root identity and will break non-root policy"


@table(
    ("user", "windows", "os", "needed"),
    {
        "a runAsUser hides the image": (1000, None, "linux", False),
        "so does runAsUser 0": (0, None, "linux", False),
        "without one the image decides": (None, None, "linux", True),
        "a Windows name means nothing on Linux": (None, "x", "linux", True),
        "a runAsUserName hides the image": (None, "x", "windows", False),
        "a runAsUser means nothing on Windows": (1000, None, "windows", True),
    },
)
def test_when_the_image_is_looked_at(user: int | None, windows: str | None, os: str, needed: bool) -> None:
    """Which is when the registry has to be asked."""
    assert needs_image(effective(user=user, windows=windows), os) is needed


def test_a_missing_user_is_a_bug_of_the_caller() -> None:
    """Not an answer that could be taken for one."""
    with pytest.raises(ValueError, match=r"^the image's USER is needed where no runAsUser is set$"):
        refusal(effective(non_root=True), None, "linux")


@table(
    ("given", "os", "expected"),
    {
        "runAsNonRoot": (effective(non_root=True), "linux", True),
        "runAsNonRoot beside root, which the kubelet refuses": (effective(non_root=True, user=0), "linux", True),
        "a uid": (effective(user=1), "linux", True),
        "a uid beside false": (effective(non_root=False, user=1), "linux", True),
        "root": (effective(user=0), "linux", False),
        "nothing": (effective(), "linux", False),
        "a Windows name on Linux": (effective(windows="ContainerUser"), "linux", False),
        "runAsNonRoot on Windows": (effective(non_root=True), "windows", True),
        "a Windows name": (effective(windows="ContainerUser"), "windows", True),
        "the administrator": (effective(windows="ContainerADMINISTRATOR"), "windows", False),
        "a uid, which means nothing on Windows": (effective(user=1000), "windows", False),
        "nothing on Windows": (effective(), "windows", False),
    },
)
def test_what_the_spec_alone_keeps_from_root(given: Effective, os: str, expected: bool) -> None:
    assert never_root(given, os) is expected
