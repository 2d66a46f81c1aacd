"""The privileges that the programs of an image need, and the defaults that must be left out for them.

A program whose file capabilities are not all in the bounding set cannot be executed at all; under no_new_privs a program
gets none that the process did not have before, and a setuid program stays powerless. The process that the runtime
itself starts has what the security context adds, so that the container's first program keeps NET_BIND_SERVICE.
Sources: linux security/commoncap.c (bprm_caps_from_vfs_caps, cap_bprm_creds_from_file); opencontainers/runc
libcontainer/init_linux.go (finalizeNamespace); containerd/containerd internal/cri/server/container_create.go
(capabilities) and pkg/oci/spec.go (defaultUnixCaps).
"""

from collections.abc import Iterable, Sequence

import msgspec

from webhook.evaluation.subject import Subject
from webhook.image import start
from webhook.image.filesystem import Survey
from webhook.image.source import Image
from webhook.policy.types import Default, PolicySpec
from webhook.workload.podspec import Capabilities, SecurityContext

BIND = "NET_BIND_SERVICE"
RUNTIME_DEFAULT = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
        "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
_ALL = "ALL"
_SETUID = 0o4000
# Programs that cannot do without setuid helpers of theirs: github.com/rootless-containers/rootlesskit, containers/podman.
_HELPERS = {
    "rootlesskit": frozenset({"newuidmap", "newgidmap"}),
    "podman": frozenset({"newuidmap", "newgidmap"}),
    "buildah": frozenset({"newuidmap", "newgidmap"}),
}
_NO_CONTEXT = SecurityContext()


class Program(msgspec.Struct, frozen=True, gc=False):
    """A program with file capabilities: `started` where the command line names it, `first` where it is process 1."""

    path: str
    capabilities: tuple[str, ...]
    effective: bool
    started: bool
    first: bool


class Privileges(msgspec.Struct, frozen=True, gc=False):
    """The privileged programs of an image: those with file capabilities, and the setuid programs that its start needs."""

    programs: tuple[Program, ...]
    setuid: tuple[str, ...]

    @property
    def capabilities(self) -> bool:
        """Whether some program needs more than NET_BIND_SERVICE, so that capabilities must be left alone."""
        return any(set(each.capabilities) - {BIND} for each in self.programs)

    @property
    def escalation(self) -> bool:
        """Whether some program gains privileges that its parent has not, so that no_new_privs would stop it."""
        return bool(self.setuid) or self.capabilities or any(not each.first for each in self.programs)


def privileges(subject: Subject) -> Privileges | None:
    """The privileged programs of the subject's image on all of its platforms; None where the layers of one were not read."""
    if subject.layers is None or subject.os != "linux":
        return None
    programs: dict[Program, None] = {}
    setuid: dict[str, None] = {}
    for each in subject.layers.platforms:
        if not isinstance(each.survey, Survey):
            return None
        container = subject.slot.container
        line = start.words(each.config, container.command, container.args)
        started = start.programs(line)
        setuid_needed = needed(line, subject.policy)
        for found in each.survey.capable:
            name = _base(found.path)
            programs[
                Program(
                    found.path,
                    found.capabilities.permitted,
                    found.capabilities.effective,
                    started=name in started,
                    first=bool(line) and name == _base(line[0]),
                )
            ] = None
        for special in each.survey.special:
            if special.mode & _SETUID and _base(special.path) in setuid_needed:
                setuid[special.path] = None
    return Privileges(tuple(programs), tuple(setuid))


def relevant(image: Image) -> frozenset[str]:
    """The names of programs on which `privileges` of the image depend, where a command line names one of them."""
    surveys = [each.survey for each in image.platforms if isinstance(each.survey, Survey)]
    paths = [each.path for survey in surveys for each in survey.capable]
    paths += [each.path for survey in surveys for each in survey.special]
    return start.programs([_base(path) for path in paths]).union(_HELPERS if paths else ())


def needed(line: Sequence[str], policy: PolicySpec) -> frozenset[str]:
    """The base names of the programs that a command line names, and of those that they or the policy say they need."""
    started = start.programs(line)
    return started.union(policy.setuid_programs, *(_HELPERS.get(name, ()) for name in started))


def left_out(subject: Subject, known: Privileges | None) -> frozenset[Default]:
    """The defaults that would stop a program; none where the namespace's Pod Security demands them all the same."""
    if known is None or subject.restricted:
        return frozenset()
    needed: list[Default] = ["allowPrivilegeEscalation"] if known.escalation else []
    return frozenset([*needed, "capabilities"] if known.capabilities else needed)


def added(known: Privileges | None) -> dict[str, list[str]]:
    """The capabilities to inject: none but NET_BIND_SERVICE, and not even that where no program carries it.

    Where nothing is known it is kept in the bounding set, without which a program that carries it cannot be executed;
    a process that is not root gets nothing by it, and Pod Security restricted allows it.
    Source: k8s.io/pod-security-admission policy/check_capabilities_restricted.go
    """
    keep = known is None or any(BIND in each.capabilities for each in known.programs)
    return {"drop": [_ALL], "add": [BIND]} if keep else {"drop": [_ALL]}


def bounding(own: SecurityContext | None) -> frozenset[str]:
    """The names in the bounding set of a container with that security context.

    Source: containerd/containerd internal/cri/server/container_create.go (ALL first, then added, then dropped).
    """
    context = own or _NO_CONTEXT
    given = context.capabilities or Capabilities()
    add, drop = set(_names(given.add)), set(_names(given.drop))
    base = frozenset() if _ALL in drop else RUNTIME_DEFAULT
    return (base | add) - drop


def lacking(capabilities: Iterable[str], context: SecurityContext | None) -> tuple[str, ...]:
    """The file capabilities, of those given, that the bounding set of that context lacks."""
    given = bounding(context)
    return () if _ALL in given else tuple(name for name in capabilities if name not in given)


def _names(given: Iterable[str] | None) -> Iterable[str]:
    return (name.upper().removeprefix("CAP_") for name in given or ())


def _base(path: str) -> str:
    return path.rpartition("/")[2]
