"""The shape of a Pod: what can change the response to it, without what differs between Pods that are answered alike.

Pods of a template differ in their own name and in that of the token volume that the API server gives each; those of a pipeline
in their command lines and the names of their containers, too.
"""

import secrets
from operator import attrgetter
from string import ascii_lowercase, digits
from typing import Any

import msgspec
from msgspec.structs import replace

from webhook.policy import injectors
from webhook.workload.annotations import ANNOTATION, OPENSHIFT_SCC, RecordEntry, own_record
from webhook.workload.podspec import Container, FileModes, Metadata, PodSpec, Present, Volume
from webhook.workload.workload import Workload

NAMES_LIMIT = 16  # containers of a Pod in which names and command lines are left out

_APART = {"name", "projected", "secret", "config_map", "empty_dir"}
_KIND_OF_VOLUME = attrgetter(*(each for each in Volume.__struct_fields__ if each not in _APART))
_PLAIN = _KIND_OF_VOLUME(Volume())
_TOKEN = (Volume(projected=Present()),)
# kubernetes plugin/pkg/admission/serviceaccount/admission.go (DefaultAPITokenMountPath)
_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_NO_METADATA = Metadata()
_ANNOTATIONS = (ANNOTATION, OPENSHIFT_SCC)
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")

# kubernetes/apimachinery pkg/util/validation/validation.go (IsDNS1123Label), without where the "-" may stand
_LABEL_LIMIT = 63
_LABEL_CHARACTERS = ascii_lowercase + digits + "-"
# A name of n characters is evaluated as n times one character, another for each container: so every text is cut where it would be
# with the name. They are printable, and nobody outside knows which they are: no text of an image has them but by chance.
_RARE = range(0x20000, 0x2A6D0)  # CJK Unified Ideographs Extension B
_STAND_INS = tuple(map(chr, secrets.SystemRandom().sample(_RARE, NAMES_LIMIT)))
_BEGIN_OF_RARE = b"\xf0"  # of the UTF-8 of all of them
_ANY = ("",)  # stands in a key for a command, or for arguments


class Shape(msgspec.Struct, frozen=True, gc=False):
    """What Pods that are answered alike have in common, and in what one of them differs.

    `key` is what counts, encoded, and `common` is that of the Pod, whose own containers are `given`, init containers first. `names`
    are theirs, "" for one that counts, and empty where all count; where a name does not count, the command line does not either.
    `record` is that of earlier patches, which has names, too.
    """

    key: bytes
    common: Workload
    given: tuple[Container, ...] = ()
    names: tuple[str, ...] = ()
    record: tuple[RecordEntry, ...] = ()

    def pod(self, *, nameless: bool) -> Workload:
        """The Pod to evaluate: what they have in common, with its own command lines, and its names or what stands for them."""
        if not self.names:
            return self.common
        spec, metadata = self.common.spec, self.common.metadata
        stand_ins = {}
        if nameless:
            stand_ins = {name: each * len(name) for name, each in zip(self.names, _STAND_INS, strict=False) if name}
        if self.record:
            record = [replace(each, container=stand_ins.get(each.container, each.container)) for each in self.record]
            text = msgspec.json.encode(record).decode()
            metadata = Metadata(annotations={**(metadata.annotations or {}), ANNOTATION: text})
        containers = tuple(
            [
                replace(each, name=stand_ins.get(own.name, own.name), command=own.command, args=own.args)
                for each, own in zip((spec.init_containers or ()) + (spec.containers or ()), self.given, strict=True)
            ]
        )
        init = len(spec.init_containers or ())
        spec = replace(spec, init_containers=spec.init_containers and containers[:init], containers=containers[init:])
        return Workload(self.common.kind, metadata, spec, self.common.pointer)

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The command lines that do not count unless they name privileged programs."""
        return [
            (*(each.command or ()), *(each.args or ()))
            for each in self.given[len(self.common.spec.init_containers or ()) :]
            if (each.command or each.args) and each.name in self.names
        ]

    def named(self, text: str) -> str:
        """A text about the evaluated Pod, with the names of its containers."""
        if text.isascii():
            return text
        for name, stand_in in zip(self.names, _STAND_INS, strict=False):
            if name:
                text = text.replace(stand_in * len(name), name)
                for length in range(len(name) - 1, 0, -1) if stand_in in text else ():  # where it is cut
                    text = text.replace(stand_in * length, name[:length])
        return text


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
    given = (spec.init_containers or ()) + (spec.containers or ())
    names = _names(spec, given) if record is not None else ()
    if names:
        common = _common_pod(workload, {**read, ANNOTATION: ""} if read and record else read, volumes, names)
        key = _key(hook, namespace, common, [*map(len, names)], record and _places(record, names))
        if _BEGIN_OF_RARE not in key:  # else it may have such characters of its own
            return Shape(key, common, given, names, record or ())
    common = _common_pod(workload, read, volumes)
    return Shape(_key(hook, namespace, common), common)


def _key(hook: str, namespace: str, common: Workload, *more: object) -> bytes:
    return _ENCODER.encode((hook, namespace, common.metadata.annotations, common.spec, *more))


def _common_pod(
    workload: Workload,
    annotations: dict[str, str] | None,
    volumes: tuple[Volume, ...] | None,
    names: tuple[str, ...] = (),
) -> Workload:
    """The Pod with these annotations and volumes, and without these names of containers."""
    spec = workload.spec
    return Workload(
        workload.kind,
        _NO_METADATA if annotations is None else Metadata(annotations=annotations),
        replace(
            spec,
            containers=_common(spec.containers, names),
            init_containers=_common(spec.init_containers, names, keeps_lines=True),
            ephemeral_containers=_common(spec.ephemeral_containers),
            volumes=volumes,
        ),
        workload.pointer,
    )


def _common(
    containers: tuple[Container, ...] | None, names: tuple[str, ...] = (), *, keeps_lines: bool = False
) -> tuple[Container, ...] | None:
    """The containers without the mount that the API server adds last, with one working directory for all.

    Where its name is given, a container has no name, and one command line for all, unless it keeps its own.
    """
    if not containers:
        return containers
    found = []
    for each in containers:
        mounts, name, command, args = each.volume_mounts, each.name, each.command, each.args
        if mounts and mounts[-1].mount_path == _ACCOUNT_MOUNT:
            mounts = mounts[:-1] or None
        if name in names:
            name = ""
            if not keeps_lines:
                command, args = command and _ANY, args and _ANY
        directory = "/" if each.working_dir else None
        found.append(replace(each, name=name, command=command, args=args, volume_mounts=mounts, working_dir=directory))
    return tuple(found)


def _names(spec: PodSpec, containers: tuple[Container, ...]) -> tuple[str, ...]:
    """The names of the containers, "" for one that counts; empty where all of them do.

    By its name a container is known that others add (`webhook.policy.injectors`). All names count where an ephemeral container may
    join one.
    """
    if spec.ephemeral_containers or len(containers) > NAMES_LIMIT:
        return ()
    names = [each.name for each in containers]
    if len(names) > 1 and len(set(names)) < len(names):
        return ()
    for name in names:
        if not 0 < len(name) <= _LABEL_LIMIT or name.strip(_LABEL_CHARACTERS):
            return ()
    return tuple(["" if injectors.uses(each.image or "") else each.name for each in containers])


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
