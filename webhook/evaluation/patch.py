"""The JSON Patch for an evaluated Pod: numeric uids and the policy's defaults; nothing explicit is overridden.

Sources: k8s.io/apiserver pkg/admission/plugin/webhook/mutating/dispatcher.go (a patch that does not apply is an error
even with failurePolicy Ignore: so an object is added before its members); kubernetes
pkg/apis/core/validation/validation.go (allowPrivilegeEscalation false is invalid beside privileged and CAP_SYS_ADMIN).
"""

from typing import Any

import msgspec

from webhook.evaluation import privileges
from webhook.evaluation.subject import Subject
from webhook.evaluation.verdict import ContainerVerdict, Verdict
from webhook.image.user import Injection
from webhook.workload import json_pointer
from webhook.workload.annotations import ANNOTATION, OPENSHIFT_SCC, RecordEntry, injection_record
from webhook.workload.podspec import SecurityContext
from webhook.workload.workload import Workload

_ESCALATING = frozenset({"CAP_SYS_ADMIN", "SYS_ADMIN"})  # the API server only sees the first, the kernel both
_NONE = SecurityContext()

Operation = dict[str, Any]


def operations(verdict: Verdict, workload: Workload, annotate: bool = True) -> list[Operation]:
    """The patch for a Pod whose containers were evaluated; empty where nothing is to be added. A second pass adds nothing.

    `annotate` is off where metadata is not stored, as through the ephemeralcontainers subresource.
    """
    patch: list[Operation] = []
    record: list[RecordEntry] = []
    for each in verdict.containers:
        fields = injected(each)
        if not fields:
            continue
        pointer = f"{each.subject.pointer}/securityContext"
        if each.subject.slot.container.security_context is None:
            patch.append({"op": "add", "path": pointer, "value": fields})
        else:
            patch += [{"op": "add", "path": f"{pointer}/{name}", "value": value} for name, value in fields.items()]
        left_out = privileges.left_out(each.subject, privileges.privileges(each.subject))
        record.append(
            RecordEntry(
                container=each.subject.slot.container.name,
                fields=tuple(sorted(fields)),
                digest=each.digest,
                left_out=tuple(sorted(left_out)),
            )
        )
    group = _fs_group(verdict, workload)
    if group:
        pointer = f"{workload.pointer}/securityContext"
        if workload.spec.security_context is None:
            patch.append({"op": "add", "path": pointer, "value": group})
        else:
            patch += [{"op": "add", "path": f"{pointer}/{name}", "value": value} for name, value in group.items()]
        record.append(RecordEntry(pod=True, fields=tuple(sorted(group))))
    if patch and annotate:
        patch.append(_annotation(workload, record))
    return patch


def injected(verdict: ContainerVerdict) -> dict[str, Any]:
    """The security context fields to add to one container: none unless it is proven non-root, once they are there.

    Of a container whose user is not known, and on Windows, that is at most `runAsNonRoot`.
    """
    subject = verdict.subject
    if not subject.injects or verdict.state in {"denied", "exempted"}:
        return {}
    if verdict.state == "unknown" or subject.unknown is not None or subject.os != "linux":
        return {"runAsNonRoot": True} if subject.verifies else {}
    own = subject.slot.container.security_context or _NONE
    effective = subject.effective
    fields: dict[str, Any] = {}
    if effective.run_as_user is None:
        if subject.verifies:
            fields["runAsNonRoot"] = True
        elif not isinstance(subject.planned, Injection):
            return {}
        else:
            fields["runAsUser"] = subject.planned.uid
            if subject.planned.gid is not None and effective.run_as_group is None:
                fields["runAsGroup"] = subject.planned.gid
    elif effective.run_as_user == 0:
        return {}
    defaults = subject.policy.defaults_of(subject.slot.container.image or "")
    if "runAsNonRoot" in defaults and effective.run_as_non_root is None:
        fields["runAsNonRoot"] = True
    if OPENSHIFT_SCC in (subject.workload.pod_metadata.annotations or {}) or own.privileged:
        return fields
    known = privileges.privileges(subject)
    left_out = privileges.left_out(subject, known) | _left_out_before(subject)
    capabilities = own.capabilities
    added = (capabilities and capabilities.add) or ()
    escalation = own.allow_privilege_escalation is None and not _ESCALATING & set(added)
    if "allowPrivilegeEscalation" in defaults and escalation and "allowPrivilegeEscalation" not in left_out:
        fields["allowPrivilegeEscalation"] = False
    if (
        "capabilities" in defaults
        and (capabilities is None or (capabilities.add is None and capabilities.drop is None))
        and "capabilities" not in left_out
    ):
        fields["capabilities"] = privileges.added(known)
    if (
        "seccompProfile" in defaults
        and own.seccomp_profile is None
        and subject.workload.context.seccomp_profile is None
    ):
        fields["seccompProfile"] = {"type": "RuntimeDefault"}
    return fields


def _fs_group(verdict: Verdict, workload: Workload) -> dict[str, Any]:
    """The opt-in fsGroup, where some container could not write its volume and the Pod takes one."""
    if OPENSHIFT_SCC in (workload.pod_metadata.annotations or {}):
        return {}
    wanted = (
        each.subject.fs_group
        for each in verdict.containers
        for finding in each.findings
        if finding.rule == "volume-permissions" and each.fixes(finding)
    )
    number = next(wanted, None)
    if number is None:
        return {}
    group: dict[str, Any] = {"fsGroup": number}
    if workload.context.fs_group_change_policy is None:
        group["fsGroupChangePolicy"] = "OnRootMismatch"
    return group


def _annotation(workload: Workload, record: list[RecordEntry]) -> Operation:
    annotations = workload.metadata.annotations
    text = msgspec.json.encode([*injection_record(annotations), *record]).decode()
    if annotations is None:
        return {"op": "add", "path": "/metadata/annotations", "value": {ANNOTATION: text}}
    return {"op": "add", "path": f"/metadata/annotations/{json_pointer.escaped(ANNOTATION)}", "value": text}


def _left_out_before(subject: Subject) -> frozenset[Any]:
    """The fields that an earlier pass left out of the container, which then had no runAsUser, so that its image was asked."""
    names = [each.get("leftOut") for each in subject.pod.injections.get(subject.slot.container.name, ())]
    return frozenset(name for found in names if isinstance(found, list) for name in found if isinstance(name, str))
