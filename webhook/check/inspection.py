"""The inspection of an image: who it runs as, and what the kubelet would do.

Source of the note on ports: containerd/containerd internal/cri/config/config_unix.go (EnableUnprivilegedPorts);
moby/moby daemon/oci_linux.go (ip_unprivileged_port_start).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from webhook.evaluation import kubelet
from webhook.evaluation.evaluator import evaluate
from webhook.evaluation.finding import Finding
from webhook.image import start, suggestion
from webhook.image.config import Config
from webhook.image.filesystem import Directory, Suggestion, Survey
from webhook.image.source import Image, Images, PlatformImage, Query
from webhook.image.user import Identity, PlatformIdentity, platform_identities
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents
from webhook.text import quoted
from webhook.workload.podspec import Container, Metadata, PodOS, PodSecurityContext, PodSpec
from webhook.workload.workload import Workload, effective

_FIRST = 5  # programs that are named


class Platform(msgspec.Struct, frozen=True):
    """One platform's image, who its USER is, and what there is to say about it.

    `kubelet` is what the kubelet says to `runAsNonRoot: true`, None where it starts the container. `notes` are what a
    non-root process may trip over. `suggestion` is the uid that a root image is made for.
    """

    image: PlatformImage
    user: PlatformIdentity
    kubelet: str | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    suggestion: Suggestion | None = None


async def platforms(reference: str, image: Image, os: str) -> tuple[Platform, ...]:
    """Every platform of an image, each evaluated as the one container of a Pod that demands `runAsNonRoot`.

    `os` is that of the nodes; an image that is for Windows alone runs on no others.
    """
    if all(each.platform.os == "windows" for each in image.platforms):
        os = "windows"
    return tuple(
        [
            await _platform(reference, msgspec.structs.replace(image, platforms=(each,)), each, answer, os)
            for each, answer in zip(image.platforms, platform_identities(image, os), strict=True)
        ]
    )


async def _platform(reference: str, image: Image, each: PlatformImage, answer: PlatformIdentity, os: str) -> Platform:
    container = Container(name="app", image=reference)
    spec = PodSpec(
        containers=(container,), security_context=PodSecurityContext(run_as_non_root=True), os=PodOS(name=os)
    )
    verdict = await evaluate(
        Workload("Pod", Metadata(name="inspected"), spec),
        PolicySnapshot(Documents()).effective_policy(""),
        _Given(image),
        namespace="",
        budget=1.0,
        now=datetime.now(UTC),
    )
    survey = each.survey if isinstance(each.survey, Survey) else None
    return Platform(
        image=each,
        user=answer,
        kubelet=kubelet.refusal(effective(container, spec.security_context), answer.user, os)
        if spec.security_context
        else None,
        findings=verdict.findings,
        notes=(*_notes(each.config), *(_obstacles(survey, answer.known) if survey else ())),
        suggestion=suggestion.suggest(each),
    )


class _Given(Images):
    """An image source that has the one image already."""

    def __init__(self, image: Image) -> None:
        self._image = image

    async def find(self, query: Query) -> Image:  # noqa: ARG002  # whatever is asked
        return self._image


def _notes(config: Config) -> list[str]:
    notes = [
        f"exposes port {port}: below {suggestion.LOW_PORT} a non-root process needs net.ipv4.ip_unprivileged_port_start, "
        "which containerd 2 and Docker set to 0, and older runtimes do not"
        for port in suggestion.low_ports(config)
    ]
    words = [word.rpartition("/")[2] for word in start.words(config)]
    notes += [
        f"starts with {word}, which changes the user and needs root to do so"
        for word in words
        if word in start.STEP_DOWN_TOOLS
    ]
    number, _, group = config.user.text.partition(":")
    if number and group:
        notes.append(
            f"Kubernetes ignores {quoted(':' + group, 80)} of its USER: the group is that of /etc/passwd, else 0; "
            "a policy with runAsGroup: FromImage injects it"
        )
    if config.volumes:
        notes.append(
            f"declares the volumes {', '.join(config.volumes)}: what is mounted there must be writable to the user"
        )
    return notes


def _obstacles(survey: Survey, identity: Identity | None) -> Iterator[str]:
    """The obstacles in the layers to a process that is not root: its own uid's where that is known."""
    for each in survey.directories:
        if not _in_the_way(each, identity) or (each.path == "/" and each.role == "workingDirectory"):
            continue  # nobody writes to /, which is where everything starts that does not say where
        what = f"the {'volume' if each.role == 'volume' else 'working directory'} {each.path}"
        state = (
            f"belongs to uid {each.uid} gid {each.gid}, mode {each.mode:04o}"
            if each.present
            else "is in no layer, so that the runtime makes it, as root's"
        )
        who = f"uid {identity.uid}" if identity and identity.uid else "a non-root process"
        yield f"{what} {state}: {who} cannot write there"
    for step in survey.steps_down:
        yield (
            f"{step.script} changes to {step.user} by {step.tool}, which needs root; "
            "a script that first asks who it is does so as root alone"
        )
    for program in survey.capable[:_FIRST]:
        names = ", ".join(program.capabilities.permitted)
        consequence = "cannot be executed" if program.capabilities.effective else "is executed without it"
        yield (
            f"{program.path} carries the capability {names}: under capabilities.drop ALL it {consequence} "
            "unless capabilities.add names it"
        )
    if survey.special:
        first = ", ".join(each.path for each in survey.special[:_FIRST])
        more = ", …" if len(survey.special) > _FIRST else ""
        yield (
            f"has {len(survey.special)} setuid or setgid programs ({first}{more}), "
            "which allowPrivilegeEscalation: false makes powerless"
        )


def _in_the_way(directory: Directory, identity: Identity | None) -> bool:
    if identity and identity.uid:
        groups = tuple(each for each in (identity.gid, *(identity.groups or ())) if each is not None)
        return not directory.writable(identity.uid, groups)
    return directory.uid == 0 and not directory.mode & 0o002
