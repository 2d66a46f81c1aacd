"""Findings say who, why and what to write, in text that is safe to print."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import image, multi, platform_image, unknown
from tests.support.pods import effective_policy, first, minimal, tweak, within, workload
from tests.support.tables import table
from webhook.evaluation.finding import describe_user, finding, image_user
from webhook.evaluation.pod_facts import PodFacts
from webhook.evaluation.subject import Subject
from webhook.image.config import User
from webhook.image.source import Image, Unknown
from webhook.image.user import Injection, platform_identities
from webhook.text import quoted
from webhook.workload import workload as pod


def subject(found: Image | Unknown | None = None, os: str = "linux", kind: str = "Pod", **context: object) -> Subject:
    """The first container of a minimal Pod and what was found of its image."""
    obj = tweak(minimal(), {f"spec.containers.0.securityContext.{key}": value for key, value in context.items()})
    work = workload(obj if kind == "Pod" else within(kind, obj))
    slot = first(work)
    return Subject(
        workload=work,
        pod=PodFacts(work),
        slot=slot,
        os=os,
        effective=pod.effective(slot.container, work.context),
        policy=effective_policy().policy.spec,
        injects=True,
        image=found,
        identities=platform_identities(found, os) if isinstance(found, Image) else (),
    )


def _observed(user: User) -> Image:
    """An image of which a node has shown who it is."""
    (one,) = image("7").platforms
    config = msgspec.structs.replace(one.config, user=user)
    return msgspec.structs.replace(multi(msgspec.structs.replace(one, config=config)), source="observed")


def test_a_finding_names_the_container_the_reason_and_the_next_step() -> None:
    """And points at the field."""
    result = finding(subject(image("app")), "root-user", "runs as root", "is root", "set it", field="runAsUser")
    assert result.message == 'runs as root: container "app" is root; set it'
    assert result.pointer == "/spec/containers/0/securityContext/runAsUser"
    assert (result.container, result.image, result.user, result.severity) == (
        "app",
        "registry.example/app:1",
        "app",
        "error",
    )


def test_a_finding_says_what_kind_of_container_it_is_unless_regular() -> None:
    """So that one finds it in the Pod."""
    work = workload(tweak(minimal(), {"spec.initContainers.0": {"name": "setup"}}))
    result = finding(
        msgspec.structs.replace(subject(), workload=work, slot=first(work)), "root-user", "reason", "is root", "set it"
    )
    assert result.detail == 'init container "setup" is root'
    assert (result.image, result.user, result.pointer) == ("", None, "/spec/initContainers/0")


@table(
    ("kind", "field"),
    {
        "of a Pod": ("Pod", "spec.containers[0].securityContext.runAsUser"),
        "of a CronJob": ("CronJob", "spec.jobTemplate.spec.template.spec.containers[0].securityContext.runAsUser"),
        "of a PodTemplate": ("PodTemplate", "template.spec.containers[0].securityContext.runAsUser"),
    },
)
def test_a_field_is_written_as_in_the_manifest(kind: str, field: str) -> None:
    """Not as a JSON pointer."""
    assert subject(kind=kind).field("runAsUser") == field


@table(
    ("found", "text"),
    {
        "an image that nobody read": (None, '(image "registry.example/app:1")'),
        "no USER": (image(""), '(image "registry.example/app:1", no USER)'),
        "a USER": (image("app"), '(image "registry.example/app:1", USER "app")'),
        "another system than the Pod's": (
            multi(platform_image("app", platform="windows/amd64")),
            '(image "registry.example/app:1", USER "app", built for "windows")',
        ),
        "no system named": (multi(platform_image("app", platform="")), '(image "registry.example/app:1", USER "app")'),
        "an answer of some hours ago": (
            msgspec.structs.replace(image("app"), age=7200.0),
            '(image "registry.example/app:1", USER "app", as of 2 h ago)',
        ),
        "a node's": (
            msgspec.structs.replace(image("app"), source="observed", age=7200.0),
            '(image "registry.example/app:1", USER "app", observed on a node 2 h ago)',
        ),
        "a node's, which does not tell the USER": (
            _observed(User("", uid=7)),
            '(image "registry.example/app:1", USER not read, observed on a node just now)',
        ),
    },
)
def test_the_image_in_words(found: Image | None, text: str) -> None:
    """For messages."""
    assert image_user(subject(found)) == text


@table(
    ("given", "text"),
    {
        "the container's number": (subject(runAsUser=7), "uid 7 (runAsUser of the container)"),
        "an unread image": (subject(), "unknown"),
        "an unknown image": (subject(unknown("pending")), "unknown (pending)"),
        "no USER": (subject(image("")), "uid 0 (no USER)"),
        "a number": (subject(image("7")), 'uid 7 (USER "7")'),
        "a group that is ignored": (
            subject(image("7:44")),
            'uid 7 (USER "7:44", whose group 44 Kubernetes ignores)',
        ),
        "a group that will be injected": (
            msgspec.structs.replace(subject(image("7:44")), planned=Injection(7, 44)),
            'uid 7 (USER "7:44")',
        ),
        "a number that Windows has not": (subject(image("x"), "windows", runAsUser=7), 'Windows user "x"'),
        "the group that it has anyway": (subject(image("1000:1000")), 'uid 1000 (USER "1000:1000")'),
        "a name": (subject(image("app")), 'uid 1000 (USER "app" in the image\'s /etc/passwd)'),
        "platforms that disagree": (
            subject(
                multi(
                    platform_image("7"),
                    platform_image("app", platform="linux/arm64"),
                    platform_image("7", platform="linux/s390x"),
                )
            ),
            (
                'uid 7 (USER "7") on "linux/amd64 linux/s390x", '
                'uid 1000 (USER "app" in the image\'s /etc/passwd) on "linux/arm64"'
            ),
        ),
        "nobody": (subject(image("x")), "no user (USER \"x\": the image's /etc/passwd has no user 'x')"),
        "accounts that are unknown": (subject(multi(platform_image("app", unknown="pending"))), "unknown (pending)"),
        "a Windows image": (subject(image("ContainerUser"), "windows"), 'Windows user "ContainerUser"'),
        "a Windows image without USER": (subject(image(""), "windows"), "the image's Windows user"),
        "a Windows name, over a number": (
            subject(None, "windows", runAsUser=0, windowsOptions={"runAsUserName": "x"}),
            'Windows user "x"',
        ),
    },
)
def test_who_a_container_is_in_a_few_words(given: Subject, text: str) -> None:
    """And who said so."""
    assert describe_user(given) == text


def test_the_pods_number_is_the_pods() -> None:
    """Not the container's."""
    work = workload(tweak(minimal(), {"spec.securityContext.runAsUser": 7}))
    slot = first(work)
    given = msgspec.structs.replace(subject(), effective=pod.effective(slot.container, work.context))
    assert describe_user(given) == "uid 7 (runAsUser of the Pod)"


@table(
    ("given", "uid", "written"),
    {
        "the spec's": (subject(runAsUser=7), 7, 7),
        "a planned one": (msgspec.structs.replace(subject(image("app")), planned=Injection(5)), 5, 5),
        "the image's is known but not written": (subject(image("app")), 1000, None),
        "platforms that disagree": (subject(multi(platform_image("1"), platform_image("2"))), None, None),
        "one that nobody knows": (subject(multi(platform_image("1"), platform_image("x"))), None, None),
        "an unread image": (subject(), None, None),
        "a Windows image": (subject(image("1"), "windows"), None, None),
    },
)
def test_the_uid_of_a_container(given: Subject, uid: int | None, written: int | None) -> None:
    """What it will run as, and what its runAsUser will be."""
    assert (given.uid, given.written_uid) == (uid, written)


@table(
    ("text", "safe"),
    {
        "plain text": ("app", '"app"'),
        "letters of other scripts": ("café ☕", '"café ☕"'),
        "quotes": ('a"b', '"a\\"b"'),
        "a backslash": ("a\\b", '"a\\\\b"'),
        "a line break": ("a\nb", '"a\\nb"'),
        "an escape sequence": ("\x1b[31m", '"\\x1b[31m"'),
        "text that turns around": ("a\u202eb", '"a\\u202eb"'),
        "half a surrogate pair": ("\udc80", '"\\udc80"'),
        "too much": ("x" * 300, '"' + "x" * 200 + '…"'),
    },
)
def test_a_strangers_text_is_made_safe(text: str, safe: str) -> None:
    """For a terminal, a log and a header."""
    assert quoted(text) == safe


@given(st.text())
def test_any_text_is_made_safe(text: str) -> None:
    """One printable line of bounded length that JSON takes."""
    safe = quoted(text)
    assert safe.isprintable()
    assert len(safe) <= 12 * 201
    safe.encode()


def test_a_container_without_an_image_has_an_empty_one() -> None:
    """As in a template, which somebody fills in."""
    bare = workload(tweak(minimal(), {"spec.containers.0.image": None}))
    given = msgspec.structs.replace(subject(), workload=bare, slot=first(bare))
    assert finding(given, "root-user", "reason", "is root", "set it").image == ""
    assert image_user(given) == '(image "")'
