"""The shape of a Pod: what can change the response to it, without what differs between Pods that are answered alike.

Pods of a template differ in their own name and in that of the token volume that the API server gives each; those of a pipeline
in their command lines and the names of their containers, too.
"""

import secrets
from collections.abc import Iterator
from operator import attrgetter
from string import ascii_lowercase, digits
from typing import Any

import msgspec
from msgspec.structs import replace

from webhook.policy import injectors
from webhook.workload.annotations import ANNOTATION, OPENSHIFT_SCC, RecordEntry, own_record
from webhook.workload.podspec import Container, FileModes, Metadata, PodSpec, Present, Volume, VolumeMount
from webhook.workload.workload import Workload

NAMES_LIMIT = 16  # containers of a Pod in which names and command lines are left out

_APART = {"name", "projected", "secret", "config_map", "empty_dir"}
_KIND_OF_VOLUME = attrgetter(*(each for each in Volume.__struct_fields__ if each not in _APART))
_PLAIN = _KIND_OF_VOLUME(Volume())
_TOKEN = (Volume(projected=Present()),)
# kubernetes plugin/pkg/admission/serviceaccount/admission.go (DefaultAPITokenMountPath)
_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_OF_SPEC = attrgetter(
    *(each for each in PodSpec.__struct_fields__ if not each.endswith("containers") and each != "volumes")
)
_LOOKED_AT = {"name", "command", "args", "volume_mounts", "working_dir"}
_OF_CONTAINER = attrgetter(*(each for each in Container.__struct_fields__ if each not in _LOOKED_AT))
_ANNOTATIONS = (ANNOTATION, OPENSHIFT_SCC)
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")

# kubernetes/apimachinery pkg/util/validation/validation.go (IsDNS1123Label), without where the "-" may stand
_LABEL_LIMIT = 63
_LABEL_CHARACTERS = ascii_lowercase + digits + "-"
# A name of n characters is evaluated as n times one character, another for each container: so every text is cut where it would be
# with the name. They are printable, and nobody outside knows which they are: no text of an image has them but by chance.
_RARE = range(0x20000, 0x2A6D0)  # CJK Unified Ideographs Extension B
_STAND_INS = tuple(map(chr, secrets.SystemRandom().sample(_RARE, NAMES_LIMIT)))
_BEGIN_OF_RARE = 0xF0  # the first byte of each in UTF-8
_ANY = ("",)  # stands in a key for a command, or for arguments

Parts = tuple[str | tuple[int, int], ...]
"""A text, with a container's number and a count of characters in the place of its name, which is cut where the text is."""


class Shape(msgspec.Struct, frozen=True, gc=False):
    """What of a Pod can change the response to it.

    `key` is that, encoded, and `annotations` and `volumes` are those of the `workload` that are in it. `names` are those of its
    containers, init containers first, "" for one that counts, and empty where all count; where a name does not count, the command
    line does not either. `record` is that of earlier patches, which has names, too.
    """

    key: bytes
    workload: Workload
    annotations: dict[str, str] | None
    volumes: tuple[Volume, ...] | None
    names: tuple[str, ...] = ()
    record: tuple[RecordEntry, ...] = ()

    def pod(self, *, nameless: bool) -> Workload:
        """The Pod to evaluate: what is in the key, with its own command lines, and its names or what stands for them."""
        annotations, spec = self.annotations, self.workload.spec
        stand_ins = {}
        if nameless:
            stand_ins = {name: each * len(name) for name, each in zip(self.names, _STAND_INS, strict=False) if name}
        if stand_ins and self.record:
            record = [replace(each, container=stand_ins.get(each.container, each.container)) for each in self.record]
            annotations = {**(annotations or {}), ANNOTATION: msgspec.json.encode(record).decode()}
        spec = replace(
            spec,
            containers=_evaluated(spec.containers, stand_ins),
            init_containers=_evaluated(spec.init_containers, stand_ins),
            ephemeral_containers=_evaluated(spec.ephemeral_containers, stand_ins),
            volumes=self.volumes,
        )
        return Workload(self.workload.kind, Metadata(annotations=annotations), spec, self.workload.pointer)

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The command lines that do not count unless they name privileged programs."""
        return [
            (*(each.command or ()), *(each.args or ()))
            for each in self.workload.spec.containers or ()
            if (each.command or each.args) and each.name in self.names
        ]


def parts(text: str, names: tuple[str, ...]) -> Parts:
    """A text about the evaluated Pod, taken apart where it has one of these names."""
    if text.isascii():
        return (text,)
    found: list[str | tuple[int, int]] = [text]
    for number, (name, stand_in) in enumerate(zip(names, _STAND_INS, strict=False)):
        for length in range(len(name), 0, -1):  # less than the whole where the text is cut
            if not any(stand_in in each for each in found if isinstance(each, str)):
                break
            found = [part for each in found for part in _split(each, stand_in * length, (number, length))]
    return tuple(found)


def _split(part: str | tuple[int, int], stand_in: str, name: tuple[int, int]) -> Iterator[str | tuple[int, int]]:
    """The part with the name in the place of what stands for it."""
    if isinstance(part, str):
        first, *others = part.split(stand_in)
        yield first
        for each in others:
            yield from (name, each)
    else:
        yield part


def named(parts: Parts, names: tuple[str, ...]) -> str:
    """The text with these names."""
    if len(parts) == 1:
        (text,) = parts
        return str(text)
    return "".join([each if isinstance(each, str) else names[each[0]][: each[1]] for each in parts])


def shape_of(hook: str, namespace: str, workload: Workload) -> Shape | None:
    """The shape of a Pod that is created; None where findings are about its volumes: their permissions.

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
    volumes = (*shared, *_TOKEN) if projected else tuple(shared) or None
    read = (
        {name: annotations[name] for name in _ANNOTATIONS if name in annotations} if annotations is not None else None
    )
    record = own_record(read[ANNOTATION]) if read and ANNOTATION in read else ()
    names = _names(spec) if record is not None else ()
    if names:
        shown = {**read, ANNOTATION: ""} if read and record else read
        key = _key(hook, namespace, spec, shown, volumes, names, [*map(len, names)], record and _places(record, names))
        if _BEGIN_OF_RARE not in key:  # else it may have such characters of its own
            return Shape(key, workload, read, volumes, names, record or ())
    return Shape(_key(hook, namespace, spec, read, volumes), workload, read, volumes)


def _key(
    hook: str,
    namespace: str,
    spec: PodSpec,
    annotations: dict[str, str] | None,
    volumes: tuple[Volume, ...] | None,
    names: tuple[str, ...] = (),
    *more: object,
) -> bytes:
    """The Pod with these annotations and volumes, and without these names of containers, as MessagePack."""
    init, ephemeral = spec.init_containers, spec.ephemeral_containers
    containers = (
        spec.containers and [_counting(each, names) for each in spec.containers],
        init and [_counting(each, names, keeps_lines=True) for each in init],
        ephemeral and [_counting(each) for each in ephemeral],
    )
    return _ENCODER.encode((hook, namespace, annotations, volumes, _OF_SPEC(spec), containers, *more))


def _counting(container: Container, names: tuple[str, ...] = (), *, keeps_lines: bool = False) -> tuple[object, ...]:
    """What counts of a container: no name that is one of these, and one command line for all beside it, unless it keeps its own."""
    name, command, args = container.name, container.command, container.args
    if name in names:
        name = ""
        if not keeps_lines:
            command, args = command and _ANY, args and _ANY
    return (name, command, args, _mounts(container), bool(container.working_dir), _OF_CONTAINER(container))


def _evaluated(containers: tuple[Container, ...] | None, stand_ins: dict[str, str]) -> tuple[Container, ...] | None:
    """The containers without what does not count."""
    return containers and tuple(
        [
            replace(
                each,
                name=stand_ins.get(each.name, each.name),
                volume_mounts=_mounts(each),
                working_dir="/" if each.working_dir else None,
            )
            for each in containers
        ]
    )


def _mounts(container: Container) -> tuple[VolumeMount, ...] | None:
    """The mounts but for that which the API server adds last."""
    mounts = container.volume_mounts
    return mounts[:-1] or None if mounts and mounts[-1].mount_path == _ACCOUNT_MOUNT else mounts


def _names(spec: PodSpec) -> tuple[str, ...]:
    """The names of the containers, init containers first, "" for one that counts; empty where all of them do.

    By its name a container is known that others add (`webhook.policy.injectors`). All names count where an ephemeral container may
    join one.
    """
    containers = (spec.init_containers or ()) + (spec.containers or ())
    if spec.ephemeral_containers or len(containers) > NAMES_LIMIT:
        return ()
    if len(containers) > 1 and len({each.name for each in containers}) < len(containers):
        return ()
    names = []
    for each in containers:
        name = each.name
        if not 0 < len(name) <= _LABEL_LIMIT or name.strip(_LABEL_CHARACTERS):
            return ()
        names.append("" if injectors.uses(each.image or "") else name)
    return tuple(names)


def _places(record: tuple[RecordEntry, ...], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    """The entries with the number of a container whose name does not count in the place of its name."""
    places = {name: place for place, name in enumerate(names) if name}
    return [(places.get(each.container, each.container), *msgspec.structs.astuple(each)[1:]) for each in record]


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
