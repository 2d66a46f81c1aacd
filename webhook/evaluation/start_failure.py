"""Containers of patched Pods that do not start: which injected field keeps them from it, and how to leave it out.

    failures(pod)                       # what does not start, or dies within its first seconds
    blamed(failure, facts, spec)        # the injected fields that what is known of the image blames for it
    started(pod, now)                   # whether every patched container has come past that
    remedy(field, image, spec)          # the line of the policy

A program that the kernel does not let runc execute ends the container at once, with the reason in its log alone: with exit code
1 by runc 1.1.5, as seen under containerd 2.2, or 255 by newer ones, which was not seen. Logs are not read.
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
from webhook.image.image_identity import ImageFacts, WorkingDirectory
from webhook.policy.globs import image_matcher
from webhook.policy.types import PolicySpec
from webhook.text import printable, quoted
from webhook.workload import container_status
from webhook.workload.container_status import ContainerState, ContainerStatus, ContainerTerminated, Pod
from webhook.workload.podspec import Container

FIRST_SECONDS = timedelta(seconds=10)  # a container that dies later has started
TEXT_LIMIT = 200  # characters of the kubelet's or the container's own words

Proof = Literal["words", "unpatched", "facts"]
"""The proof that a cause needs: the words themselves; that the same ran unpatched; what the image's layers say of its start."""


class StartFailure(msgspec.Struct, frozen=True):
    """A container that does not start. `fields` are the injected ones that may cause it, the likeliest first, of all `given`."""

    container: Container
    digest: str
    given: tuple[str, ...]
    fields: tuple[str, ...]
    symptom: str
    proof: Proof


class _Cause(msgspec.Struct, frozen=True):
    """A cause of a failed start: the words about the container, and the fields to blame, the likeliest first."""

    words: re.Pattern[str]
    fields: tuple[str, ...]
    proof: Proof = "unpatched"


_NEVER = 1970  # the year in which the kubelet has what never was
_AT_ONCE = timedelta(seconds=1)  # of a program that was never executed
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
_CODES = {126: (*_PRIVILEGES, *_IDENTITY), 127: (*_IDENTITY, *_PRIVILEGES)}
_INIT_CODES = frozenset({1, 255})


def failures(pod: Pod) -> Iterator[StartFailure]:
    """The patched containers that do not start, or have died within their first seconds, as the fields would cause it."""
    injected = container_status.injected_fields(pod)
    for slot, own in container_status.reported(pod):
        given = injected.get(slot.container.name, ())
        for state in (own.state, own.last_state) if given else ():
            found = _cause(state, given)
            if found is not None:
                yield StartFailure(slot.container, own.digest, given, *found)
                break


def _cause(state: ContainerState, given: tuple[str, ...]) -> tuple[tuple[str, ...], str, Proof] | None:
    """Which of the given fields may be to blame for a state, in which words, and what has to be known besides."""
    ended = state.terminated
    if state.waiting is not None and state.waiting.message:
        symptom, message = f"does not start ({state.waiting.reason})", state.waiting.message
    elif ended is not None and ended.exit_code and _lived(ended) <= FIRST_SECONDS:
        symptom, message = f"dies at once with exit code {ended.exit_code}", ended.message
    else:
        return None
    if message:
        symptom = f"{symptom}: {printable(message.strip(), TEXT_LIMIT)}"
    for cause in _CAUSES:
        fields = tuple(each for each in cause.fields if each in given)
        if fields and cause.words.search(message):
            return fields, symptom, cause.proof
    if ended is None:
        return None
    suspects: tuple[str, ...] = _CODES.get(ended.exit_code, ())
    if ended.exit_code in _INIT_CODES and not message and _lived(ended) <= _AT_ONCE:
        suspects = ("capabilities",)
    fields = tuple(each for each in suspects if each in given)
    return fields, symptom, "unpatched" if fields else "facts"


def _lived(ended: ContainerTerminated) -> timedelta:
    """For how long it ran; one that the runtime could not start has no time of its start."""
    if ended.started_at is None or ended.finished_at is None or ended.started_at.year == _NEVER:
        return timedelta()
    return ended.finished_at - ended.started_at


def started(pod: Pod, now: datetime) -> bool:
    """Whether every patched container has run for longer than its first seconds, or has ended well."""
    past = {slot.container.name: _past(own, now) for slot, own in container_status.reported(pod)}
    return all(past.get(name, False) for name in container_status.injected_fields(pod))


def _past(own: ContainerStatus, now: datetime) -> bool:
    running = own.state.running
    if running is not None and running.started_at is not None and now - running.started_at > FIRST_SECONDS:
        return True
    ends = (own.state.terminated, own.last_state.terminated)
    return any(each is not None and (not each.exit_code or _lived(each) > FIRST_SECONDS) for each in ends)


def blamed(failure: StartFailure, facts: ImageFacts, spec: PolicySpec) -> tuple[str, ...]:
    """The injected fields that keep a program of the container's start from what its image's layers say that it needs."""
    container = failure.container
    line = (*container.command, *(container.args or ())) if container.command else facts.command_line
    needed = privileges.needed(line, spec)
    capabilities = [each.capabilities for each in facts.capable if each.effective and _base(each.path) in needed]
    found = {
        "capabilities": any(privileges.lacking(each, container.security_context) for each in capabilities),
        "allowPrivilegeEscalation": any(_base(path) in needed for path in facts.setuid),
        "runAsUser": _shut_out(container, facts.working_directory),
    }
    return tuple(field for field, guilty in found.items() if guilty and field in failure.given)


def _shut_out(container: Container, at: WorkingDirectory | None) -> bool:
    """Whether a container starts in a directory of its image that its uid may not enter, whatever its groups are."""
    uid = container.security_context.run_as_user if container.security_context else None
    mounted = {each.mount_path for each in container.volume_mounts or ()}
    if at is None or uid is None or container.working_dir or at.path in mounted:
        return False
    return not any(at.directory.enterable(uid, groups) for groups in ((), (at.gid,)))


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def remedy(field: str, image: str, spec: PolicySpec) -> str:
    """The lines to write into the policy, so that a field is not injected into the containers of an image."""
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
