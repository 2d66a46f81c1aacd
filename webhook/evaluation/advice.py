"""Advice about a container that runs as root, for its owner, the platform team or somebody who debugs.

The advice names a number only where something of the Pod or of the image stands for it.
"""

import re

from webhook.evaluation.subject import Subject
from webhook.image import reference
from webhook.image.filesystem import Suggestion
from webhook.policy.injectors import injector, preset_matches
from webhook.policy.types import Preset
from webhook.text import quoted

_CHOWN = re.compile(r"\b(chown|chgrp|chmod)\b")


def other_os(subject: Subject) -> str:
    """The next step where the image is for Windows and the Pod does not say that it is; else ""."""
    if not subject.identities:
        return ""
    for each in subject.identities:
        if each.platform.os != "windows":
            return ""
    pod = subject.workload.path
    return f"the image is for Windows: set {pod}.os.name: windows, and no runAsUser, which Windows does not have"


def non_root(subject: Subject, *, of_image: bool) -> str:
    """The next step; `of_image`: it is the image's USER that is root, which its Dockerfile may mend as well."""
    container = subject.slot.container
    added = injector(container.name, container.image or "")
    if added is not None:
        preset, title = added
        mirror = _mirror(subject, preset)
        wanted = (
            f"{quoted(mirror)} among the policy's presetMirrors" if mirror else f"the preset {preset} in the policy"
        )
        return (
            f"{title} adds it, so that no manifest of yours can change it: ask the platform team for {wanted}, "
            f"a NonRootException, or another image or user in the settings of {title}"
        )
    if subject.added and subject.slot.kind != "ephemeral":
        return (
            "the template of its owner does not have it, so that something adds it to the Pods, and no manifest of yours can "
            "change it: ask the platform team for another image or user where it is added, or a NonRootException for the "
            f"container {quoted(container.name, 63)}"
        )
    if subject.slot.kind == "init" and _CHOWN.search(" ".join((*(container.command or ()), *(container.args or ())))):
        pod = subject.workload.path
        return (
            f"remove it and set {pod}.securityContext.fsGroup, which gives volumes to the group of the other containers; "
            f"or allow it by a NonRootException for the container {quoted(container.name, 63)}"
        )
    uid = subject.pod.only_uid_beside(subject.slot, container.target_container_name or "")
    if subject.slot.kind == "ephemeral":
        number = f"the uid of the container that you debug, {uid}" if uid else "the uid of the container that you debug"
        shown = uid or "UID"
        return f"take {number}: {debug(shown)}"
    field = subject.field("runAsUser")
    if uid is not None and subject.slot.kind != "regular":
        return f"set {field}: {uid}, as the Pod's other containers have it"
    if of_image:
        if subject.suggested is not None:
            return _numbers(subject, subject.suggested)
        return (
            f"set {field} to a uid above 0 under which the image can run (nonroot inspect tells what it is made for), "
            "or end its Dockerfile with a numeric USER"
        )
    return (
        f"set {field} to a uid above 0 under which the image can run, or remove it where the image has a numeric USER"
    )


def _mirror(subject: Subject, preset: Preset) -> str:
    """Where the image comes from, if the policy's preset would take it had it that for a mirror; else ""."""
    image = reference.normalised(subject.slot.container.image or "")
    place = image.rpartition("/")[0]
    spec = subject.policy
    taken = preset in spec.presets and preset_matches(preset, subject.slot, image, (*spec.preset_mirrors, place))
    return place if taken else ""


def debug(uid: int | str) -> str:
    """The command that gives an ephemeral container its uid: nobody can write it into the Pod."""
    security = f'{{"securityContext": {{"runAsUser": {uid}, "runAsNonRoot": true}}}}'
    return f"kubectl debug --custom=FILE, where FILE holds {security}"


def set_uid(subject: Subject, uid: int, gid: int | None = None) -> str:
    """How a container is given its uid, and its group where one is needed."""
    if subject.slot.kind == "ephemeral":
        return f"use {debug(uid)}"
    return f"set {subject.field('runAsUser')}: {uid}{'' if gid is None else f' and runAsGroup: {gid}'}"


def _numbers(subject: Subject, suggested: Suggestion) -> str:
    """The numbers that a root image is made for, each with its field, and what stands for them."""
    fields = f"{subject.field('runAsUser')}: {suggested.uid}, runAsGroup: {suggested.gid}"
    if suggested.fs_group is not None:
        fields += f", {subject.workload.path}.securityContext.fsGroup: {suggested.fs_group}"
    return f"set {fields}: {', '.join(suggested.evidence)} ({suggested.confidence} confidence)"
