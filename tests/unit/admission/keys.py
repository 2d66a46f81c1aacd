"""Reads the key of a shape back into the Pod that it was made from."""

from typing import Any

import msgspec

from webhook.workload import podspec
from webhook.workload.workload import Workload

LISTS = ("containers", "init_containers", "ephemeral_containers")
APART = ("name", "command", "args", "volume_mounts", "working_dir")


def decoded(key: bytes) -> tuple[str, str, Workload, list[Any]]:
    """The hook, the namespace, the Pod, and what is said beside it: of the names that are left out, and of the record."""
    hook, namespace, annotations, volumes, rest, lists, *more = msgspec.msgpack.decode(key)
    found = dict(zip(_fields(podspec.PodSpec, (*LISTS, "volumes")), rest, strict=True)) | {"volumes": volumes}
    for name, containers in zip(("containers", "initContainers", "ephemeralContainers"), lists, strict=True):
        found[name] = containers and [_container(*each) for each in containers]
    pod = Workload("Pod", podspec.Metadata(annotations=annotations), msgspec.convert(found, podspec.PodSpec))
    return hook, namespace, pod, more


def _container(name: str, command: Any, args: Any, mounts: Any, has_directory: bool, rest: list[Any]) -> dict[str, Any]:
    apart = {"name": name, "command": command, "args": args, "volumeMounts": mounts}
    return (
        dict(zip(_fields(podspec.Container, APART), rest, strict=True))
        | apart
        | {"workingDir": "/" if has_directory else None}
    )


def _fields(kind: type[msgspec.Struct], apart: tuple[str, ...]) -> list[str]:
    """The fields of a type, as JSON names them, but for some."""
    names = zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    return [encoded for name, encoded in names if name not in apart]
