"""What of a Pod can change the response to it, without what differs between Pods that are answered alike.

Pods of a template differ in their own name and in that of the token volume that the API server gives each; Pods of a shape in
their command lines and the names of their containers, too, as those of a pipeline do.
"""

import re
import secrets
from functools import cached_property
from operator import attrgetter
from typing import Any

import msgspec
from msgspec.structs import replace

from webhook.image import start
from webhook.policy import injectors
from webhook.workload.annotations import ANNOTATION, OPENSHIFT_SCC, RecordEntry, own_record
from webhook.workload.podspec import Container, FileModes, Metadata, PodSpec, Present, Volume
from webhook.workload.workload import Workload

NAMES_LIMIT = 16  # containers of a Pod whose names and command lines are left out: the first ones

_APART = {"name", "projected", "secret", "config_map", "empty_dir"}
_KIND_OF_VOLUME = attrgetter(*(each for each in Volume.__struct_fields__ if each not in _APART))
_PLAIN = _KIND_OF_VOLUME(Volume())
_TOKEN = (Volume(projected=Present()),)
# kubernetes plugin/pkg/admission/serviceaccount/admission.go (DefaultAPITokenMountPath)
_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_NO_METADATA = Metadata()
_ANNOTATIONS = (ANNOTATION, OPENSHIFT_SCC)
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")

# kubernetes/apimachinery pkg/util/validation/validation.go (IsDNS1123Label)
_is_label = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch
# A name of n characters is evaluated as n times one character, another for each container: so every text is cut where it would be
# with the name. They are printable, and nobody outside knows which they are: no text of an image has them but by chance.
_RARE = range(0x20000, 0x2A6D0)  # CJK Unified Ideographs Extension B
_STAND_INS = tuple(map(chr, secrets.SystemRandom().sample(_RARE, NAMES_LIMIT)))
_BEGIN_OF_RARE = b"\xf0"  # of the UTF-8 of all of them
_ANY = ("",)  # stands in a key for a command, or for arguments


class Shape(msgspec.Struct, frozen=True, gc=False):
    """What Pods have in common that are answered alike, but for the names of their containers in the response.

    `key` is what counts, encoded. In the place of names of the Pod's containers `stand_ins` are evaluated, and "" is for one that
    counts; where a name does not count, the command line does not either. `record` is that of earlier patches.
    """

    key: bytes
    template: Workload
    stand_ins: dict[str, str]
    record: tuple[RecordEntry, ...]

    def pod(self) -> Workload:
        """The Pod to evaluate: with stand-ins for names."""
        spec, metadata = self.template.spec, self.template.metadata
        if self.record:
            record = [replace(each, container=self._stand_in(each.container)) for each in self.record]
            text = msgspec.json.encode(record).decode()
            metadata = Metadata(annotations={**(metadata.annotations or {}), ANNOTATION: text})
        regular, init = (
            containers and tuple([replace(each, name=self._stand_in(each.name)) for each in containers])
            for containers in (spec.containers, spec.init_containers)
        )
        spec = replace(spec, containers=regular, init_containers=init)
        return replace(self.template, metadata=metadata, spec=spec)

    def _stand_in(self, name: str) -> str:
        return self.stand_ins.get(name) or name

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The command lines that do not count unless they name privileged programs."""
        return [
            (*(each.command or ()), *(each.args or ()))
            for each in self.template.spec.containers or ()
            if (each.command or each.args) and self.stand_ins[each.name]
        ]

    def may_execute(self, programs: frozenset[str]) -> bool:
        """Whether one of these command lines names one of the programs."""
        if programs:
            for line in self.lines:
                if not programs.isdisjoint(start.programs(line)):
                    return True
        return False

    def named(self, text: str) -> str:
        """A text about the evaluated Pod, with the names of its containers."""
        for name, stand_in in self.stand_ins.items():
            for length in range(len(stand_in), 0, -1):  # shorter ones are where the text is cut
                if stand_in[0] not in text:
                    break
                text = text.replace(stand_in[:length], name[:length])
        return text


class Template:
    """What Pods of one template have in common: `pod`, and `key`, which is that encoded, with the hook and the namespace."""

    def __init__(self, hook: str, namespace: str, pod: Workload) -> None:
        self.pod = pod
        self.key = _ENCODER.encode((hook, namespace, pod))
        self._place = (hook, namespace)

    @property
    def evaluated(self) -> Workload:
        """The Pod to evaluate: that of its shape, where it has one."""
        return self.pod if self.shape is None else self.shape.pod()

    @cached_property
    def shape(self) -> Shape | None:
        """The shape of its Pods; None where all of it counts."""
        annotations = self.pod.metadata.annotations
        record = own_record(annotations[ANNOTATION]) if annotations and ANNOTATION in annotations else ()
        stand_ins = _stand_ins(self.pod.spec) if record is not None else {}
        if not stand_ins or _BEGIN_OF_RARE in self.key:  # it may have such characters of its own
            return None
        common = _common(self.pod, stand_ins, with_record=bool(record))
        lengths = [*map(len, stand_ins.values())]
        key = _ENCODER.encode((*self._place, common, lengths, _places(record or (), stand_ins)))
        return Shape(key, self.pod, stand_ins, record or ())


def template_of(hook: str, namespace: str, workload: Workload) -> Template | None:
    """What a Pod that is created has in common with others of its template; None where findings are about its volumes: permissions.

    Of its metadata only the annotations that are read are left, of its volumes whether one is projected and, where several users
    may write them, its emptyDirs; of its mounts all but that of the API server's token.
    """
    spec, annotations = workload.spec, workload.metadata.annotations
    projected = False
    shared: list[Volume] = []
    for volume in spec.volumes or ():
        if volume.empty_dir is not None:
            shared.append(volume)
        if _KIND_OF_VOLUME(volume) != _PLAIN or _private(volume.secret) or _private(volume.config_map):
            return None
        projected = projected or volume.projected is not None
    if shared and _one_user(workload):
        shared = []
    pod = Workload(
        workload.kind,
        _NO_METADATA if annotations is None else _read(annotations),
        replace(
            spec,
            containers=_without_token(spec.containers),
            init_containers=_without_token(spec.init_containers),
            ephemeral_containers=_without_token(spec.ephemeral_containers),
            volumes=(*shared, *_TOKEN) if projected else tuple(shared) or None,
        ),
        workload.pointer,
    )
    return Template(hook, namespace, pod)


def _read(annotations: dict[str, str]) -> Metadata:
    return Metadata(annotations={name: annotations[name] for name in _ANNOTATIONS if name in annotations})


def _without_token(containers: tuple[Container, ...] | None) -> tuple[Container, ...] | None:
    """The containers without the mount that the API server adds last, by a name of its own."""
    if not containers:
        return containers
    return tuple(
        [
            replace(each, volume_mounts=mounts[:-1] or None)
            if (mounts := each.volume_mounts) and mounts[-1].mount_path == _ACCOUNT_MOUNT
            else each
            for each in containers
        ]
    )


def _common(pod: Workload, stand_ins: dict[str, str], *, with_record: bool) -> Workload:
    """The Pod without the names that do not count, the command lines beside them, and the record of earlier patches."""
    spec, metadata = pod.spec, pod.metadata
    if with_record:
        metadata = Metadata(annotations={**(metadata.annotations or {}), ANNOTATION: ""})
    regular = [_nameless(each, line=False) if stand_ins[each.name] else each for each in spec.containers or ()]
    init = [_nameless(each, line=True) if stand_ins[each.name] else each for each in spec.init_containers or ()]
    spec = replace(spec, containers=tuple(regular), init_containers=tuple(init))
    return Workload(pod.kind, metadata, spec, pod.pointer)


def _nameless(container: Container, *, line: bool) -> Container:
    """The container without its name, with one working directory for all and, unless its command line counts, one of these."""
    command, args = container.command, container.args
    if not line:
        command, args = command and _ANY, args and _ANY
    return replace(container, name="", command=command, args=args, working_dir="/" if container.working_dir else None)


def _places(record: tuple[RecordEntry, ...], stand_ins: dict[str, str]) -> list[tuple[Any, ...]]:
    """The entries with the number of a container whose name does not count in the place of its name."""
    places = {name: place for place, (name, stand_in) in enumerate(stand_ins.items()) if stand_in}
    return [(places.get(each.container, each.container), *msgspec.structs.astuple(each)[1:]) for each in record]


def _stand_ins(spec: PodSpec) -> dict[str, str]:
    """What is evaluated for each name of an init or another container, "" for one that counts; empty where all of them do.

    By its name a container is known that others add (`webhook.policy.injectors`). No name is replaced where an ephemeral container
    may join one.
    """
    containers = (spec.init_containers or ()) + (spec.containers or ())
    found: dict[str, str] = {}
    if spec.ephemeral_containers or len(containers) > NAMES_LIMIT:
        return found
    for each, stand_in in zip(containers, _STAND_INS, strict=False):
        name = each.name
        if name in found or not _is_label(name):
            return {}
        found[name] = "" if injectors.uses(each.image or "") else stand_in * len(name)
    return found


def _one_user(workload: Workload) -> bool:
    """Whether the spec gives every container the same uid, so that no other user writes what one of them has written."""
    spec, uid = workload.spec, workload.context.run_as_user
    if uid is None:
        return False
    for containers in (spec.containers, spec.init_containers, spec.ephemeral_containers):
        for each in containers or ():
            own = each.security_context
            if own is not None and own.run_as_user is not None and own.run_as_user != uid:
                return False
    return True


def _private(files: FileModes | None) -> bool:
    """Whether some file is not everybody's to read, so that who mounts it matters."""
    return files is not None and not files.strictest & 0o004
