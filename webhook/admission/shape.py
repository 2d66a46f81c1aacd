"""The shape of a Pod: what can change the response to it, without what differs between Pods that are answered alike.

Pods of a template differ in their own name and in that of the token volume that the API server gives each; those of a pipeline
in their command lines and the names of their containers, too.
"""

import re
import secrets
from operator import attrgetter

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
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# A name of n characters is evaluated as n times one character, another for each container: so every text is cut where it would be
# with the name. They are printable, and nobody outside knows which they are: no text of an image has them but by chance.
_RARE = range(0x20000, 0x2A6D0)  # CJK Unified Ideographs Extension B
_STAND_INS = tuple(map(chr, secrets.SystemRandom().sample(_RARE, NAMES_LIMIT)))
_BEGIN_OF_RARE = b"\xf0"  # of the UTF-8 of all of them
_ANY = ("",)  # stands in a key for a command, or for arguments


class Shape(msgspec.Struct, frozen=True, gc=False):
    """What Pods that are answered alike have in common, and in what one of them differs.

    `key` is what counts, encoded, and `common` is that of the Pod. `stand_ins` are evaluated in the place of the names of
    containers that do not count, whose `given` command lines do not count either. `record` is that of earlier patches, unless it
    is in `common`.
    """

    key: bytes
    common: Workload
    given: tuple[Container, ...]
    stand_ins: dict[str, str]
    record: tuple[RecordEntry, ...]

    def pod(self) -> Workload:
        """The Pod to evaluate: what they have in common, with stand-ins for names, and its own command lines."""
        stand_ins, common = self.stand_ins, self.common
        if not stand_ins:
            return common
        spec, metadata = common.spec, common.metadata
        if self.record:
            record = [replace(each, container=stand_ins.get(each.container, each.container)) for each in self.record]
            text = msgspec.json.encode(record).decode()
            metadata = Metadata(annotations={**(metadata.annotations or {}), ANNOTATION: text})
        containers = tuple(
            [
                replace(each, name=stand_ins[own.name], command=own.command, args=own.args)
                if own.name in stand_ins
                else each
                for each, own in zip((spec.init_containers or ()) + (spec.containers or ()), self.given, strict=True)
            ]
        )
        init = len(spec.init_containers or ())
        spec = replace(spec, init_containers=spec.init_containers and containers[:init], containers=containers[init:])
        return Workload(common.kind, metadata, spec, common.pointer)

    @property
    def lines(self) -> list[tuple[str, ...]]:
        """The command lines that do not count unless they name privileged programs."""
        regular = self.given[len(self.common.spec.init_containers or ()) :]
        return [
            (*(each.command or ()), *(each.args or ()))
            for each in regular
            if (each.command or each.args) and each.name in self.stand_ins
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
            for length in range(len(name), 0, -1):  # shorter ones are where the text is cut
                if stand_in[0] not in text:
                    break
                text = text.replace(stand_in[:length], name[:length])
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
    record = own_record(annotations[ANNOTATION]) if annotations and ANNOTATION in annotations else ()
    stand_ins = _stand_ins(spec) if record is not None else {}
    if stand_ins:
        found = _shape(hook, namespace, workload, volumes, stand_ins, record or ())
        if _BEGIN_OF_RARE not in found.key:  # else it may have such characters of its own
            return found
    return _shape(hook, namespace, workload, volumes, {}, ())


def _shape(
    hook: str,
    namespace: str,
    workload: Workload,
    volumes: tuple[Volume, ...] | None,
    stand_ins: dict[str, str],
    record: tuple[RecordEntry, ...],
) -> Shape:
    spec, annotations = workload.spec, workload.metadata.annotations
    metadata = _NO_METADATA
    if annotations is not None:
        read = {name: annotations[name] for name in _ANNOTATIONS if name in annotations}
        if record:
            read[ANNOTATION] = ""
        metadata = Metadata(annotations=read)
    init, regular, ephemeral = spec.init_containers, spec.containers, spec.ephemeral_containers
    common = Workload(
        workload.kind,
        metadata,
        replace(
            spec,
            containers=regular and tuple([_common(each, each.name in stand_ins) for each in regular]),
            init_containers=init and tuple([_common(each, each.name in stand_ins, keeps_line=True) for each in init]),
            ephemeral_containers=ephemeral and tuple([_common(each, False) for each in ephemeral]),
            volumes=volumes,
        ),
        workload.pointer,
    )
    places = {name: place for place, name in enumerate(stand_ins)}
    entries = [(places.get(each.container, each.container), *msgspec.structs.astuple(each)[1:]) for each in record]
    key = _ENCODER.encode((hook, namespace, common, [*map(len, stand_ins)], entries))
    return Shape(key, common, (init or ()) + (regular or ()), stand_ins, record)


def _common(container: Container, nameless: bool, *, keeps_line: bool = False) -> Container:
    """The container without the mount that the API server adds last, with one working directory for all.

    Without a name it has one command line for all, too, unless it keeps its own.
    """
    mounts = container.volume_mounts
    if mounts and mounts[-1].mount_path == _ACCOUNT_MOUNT:
        mounts = mounts[:-1] or None
    command, args = container.command, container.args
    if nameless and not keeps_line:
        command, args = command and _ANY, args and _ANY
    return replace(
        container,
        name="" if nameless else container.name,
        command=command,
        args=args,
        volume_mounts=mounts,
        working_dir="/" if container.working_dir else None,
    )


def _stand_ins(spec: PodSpec) -> dict[str, str]:
    """What is evaluated for the names of init and other containers: nothing for one that says whose container it is.

    By its name a container is known that others add (`webhook.policy.injectors`). No name is replaced where an ephemeral container
    may join one.
    """
    containers = (spec.init_containers or ()) + (spec.containers or ())
    names = [each.name for each in containers]
    if spec.ephemeral_containers or len(names) > NAMES_LIMIT or len(set(names)) != len(names):
        return {}
    found = {}
    for place, each in enumerate(containers):
        if not _LABEL.fullmatch(each.name):
            return {}
        if not injectors.uses(each.image or ""):
            found[each.name] = _STAND_INS[place] * len(each.name)
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
