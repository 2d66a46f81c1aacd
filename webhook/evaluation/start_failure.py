"""A Pod that was patched, with its status -> which injected field keeps a container from starting, and how to leave it out.

    failures(pod)                       # what does not start, or dies within its first seconds, as our fields would cause it
    started(pod, now)                   # whether every patched container has come past that
    remedy(field, image, spec)          # the line of the policy

Sources: opencontainers/runc libcontainer/standard_init_linux.go and init_linux.go (exec, chdir to cwd); kubernetes
pkg/kubelet/kuberuntime/kuberuntime_container.go (CreateContainerConfigError, CreateContainerError, RunContainerError);
containerd/containerd internal/cri/server/container_start.go (StartError, exit code 128); POSIX.1 Shell Command Language 2.8.2
(126: found and not executable, 127: not found).
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from webhook.errors import InvalidReference
from webhook.evaluation import privileges
from webhook.image import reference
from webhook.image.image_identity import ImageFacts
from webhook.policy.types import PolicySpec, image_matcher
from webhook.text import printable, quoted
from webhook.workload import container_status
from webhook.workload.container_status import ContainerState, ContainerStatus, ContainerTerminated, Pod
from webhook.workload.podspec import Container

FIRST_SECONDS = timedelta(seconds=10)  # a container that dies later has started
TEXT_LIMIT = 200  # characters of the kubelet's or the container's own words

Proof = Literal["words", "unpatched", "setuid"]
"""What it takes to believe it: nothing more than the runtime's words; that the same ran unpatched; a setuid program, too."""


class StartFailure(msgspec.Struct, frozen=True):
    """A container that does not start. `fields` are the injected ones that cause such a thing, the likeliest first."""

    container: Container
    digest: str
    fields: tuple[str, ...]
    symptom: str
    proof: Proof


class _Cause(msgspec.Struct, frozen=True):
    """What is said of a container where some fields are to blame, the likeliest first."""

    words: re.Pattern[str]
    fields: tuple[str, ...]
    proof: Proof = "unpatched"


_PRIVILEGES = ("capabilities", "allowPrivilegeEscalation", "seccompProfile")
_IDENTITY = ("runAsUser", "runAsGroup")
FIELDS = ("runAsNonRoot", *_PRIVILEGES, *_IDENTITY)
"""Every field that can be to blame."""

_CAUSES = (
    # The kubelet cannot tell whether a name is root. An image that is root is refused on purpose, which is no failure.
    _Cause(re.compile("runAsNonRoot and image has non-numeric user"), ("runAsNonRoot",), "words"),
    _Cause(re.compile(r"\bexec\b.*operation not permitted", re.IGNORECASE | re.DOTALL), _PRIVILEGES, "words"),
    _Cause(re.compile("no new privileges|setuid|uid_map", re.IGNORECASE), ("allowPrivilegeEscalation", "capabilities")),
    _Cause(re.compile("operation not permitted", re.IGNORECASE), (*_PRIVILEGES, *_IDENTITY)),
    _Cause(re.compile("permission denied", re.IGNORECASE), (*_IDENTITY, *_PRIVILEGES)),
)
_SHELLS = {126: (*_PRIVILEGES, *_IDENTITY), 127: (*_IDENTITY, *_PRIVILEGES)}


def failures(pod: Pod) -> Iterator[StartFailure]:
    """The patched containers that do not start, or have died within their first seconds, as the fields would cause it."""
    injected = container_status.injected_fields(pod)
    for slot, own in container_status.reported(pod):
        given = injected.get(slot.container.name, ())
        for state in (own.state, own.last_state) if given else ():
            found = _cause(state, given)
            if found is not None:
                fields, symptom, proof = found
                yield StartFailure(slot.container, own.digest, fields, symptom, proof)
                break


def _cause(state: ContainerState, given: tuple[str, ...]) -> tuple[tuple[str, ...], str, Proof] | None:
    """Which of the given fields are to blame for a state, in which words, and what has to be known besides."""
    ended = state.terminated
    if state.waiting is not None and state.waiting.message:
        symptom, said, code = f"does not start ({state.waiting.reason})", state.waiting.message, 0
    elif ended is not None and ended.exit_code and _early(ended):
        symptom, said, code = f"dies at once with exit code {ended.exit_code}", ended.message, ended.exit_code
    else:
        return None
    if said:
        symptom = f"{symptom}: {printable(said.strip(), TEXT_LIMIT)}"
    for cause in _CAUSES:
        fields = tuple(each for each in cause.fields if each in given)
        if fields and cause.words.search(said):
            return fields, symptom, cause.proof
    fields = tuple(each for each in _SHELLS.get(code, ()) if each in given)
    if fields:
        return fields, symptom, "unpatched"
    if code and "allowPrivilegeEscalation" in given:
        return ("allowPrivilegeEscalation",), symptom, "setuid"
    return None


def _early(ended: ContainerTerminated) -> bool:
    """Whether it died within its first seconds; one that the runtime could not start has no time of its start."""
    if ended.started_at is None or ended.finished_at is None:
        return True
    return ended.started_at.year == 1970 or ended.finished_at - ended.started_at <= FIRST_SECONDS


def started(pod: Pod, now: datetime) -> bool:
    """Whether every patched container has run for longer than its first seconds, or has ended well."""
    past = {slot.container.name: _past(own, now) for slot, own in container_status.reported(pod)}
    return all(past.get(name, False) for name in container_status.injected_fields(pod))


def _past(own: ContainerStatus, now: datetime) -> bool:
    running = own.state.running
    if running is not None and running.started_at is not None and now - running.started_at > FIRST_SECONDS:
        return True
    ends = (own.state.terminated, own.last_state.terminated)
    return any(each is not None and (not each.exit_code or not _early(each)) for each in ends)


def needs_setuid(container: Container, facts: ImageFacts, spec: PolicySpec) -> bool:
    """Whether what a container starts needs a setuid program that its image has."""
    line = (*container.command, *(container.args or ())) if container.command else facts.command_line
    needed = privileges.needed(line, spec)
    return any(path.rpartition("/")[2] in needed for path in facts.setuid)


def remedy(field: str, image: str, spec: PolicySpec) -> str:
    """What to write into the policy, so that a field is not injected into the containers of an image."""
    glob = _glob(image)
    if field == "runAsNonRoot":
        return f"knownImages: [{{image: {glob}, uid: UID}}], so that the uid of its USER is injected in its place"
    if field in _IDENTITY:
        assigned = spec.assign is not None and image_matcher(spec.assign.images)(reference.normalised(image))
        return f"assign.images without {glob}" if assigned else f"exemptions: {{images: [{glob}]}}"
    rest = ", ".join(each for each in spec.defaults_of(image) if each != field)
    return f"imageDefaults: [{{images: [{glob}], defaults: [{rest}]}}]"


def _glob(image: str) -> str:
    """Every version of an image, as a quoted YAML text."""
    try:
        parsed = reference.parse(image)
    except InvalidReference:
        return quoted(image)
    return f'"{parsed.name}{"@" if parsed.digest else ":"}*"'
