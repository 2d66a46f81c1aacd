"""A program of the image needs a privilege that the security context takes away.

Why: the kernel does not execute a program whose file capabilities are not all in the bounding set: "Operation not
permitted". Under `allowPrivilegeEscalation: false` a setuid program stays powerless, and a program that another one
starts gets no capabilities of its own.
Fails: `capabilities.drop: [ALL]` without `add: [NET_BIND_SERVICE]` where the image starts a program with
`cap_net_bind_service=+ep`; `allowPrivilegeEscalation: false` where the start needs sudo or newuidmap. Where injection
leaves these fields alone for such a program that is a note, and a warning where Pod Security restricted demands them.
Passes: an image whose programs carry nothing; one whose layers were not read.
Fix: add the capability in `securityContext.capabilities.add`, or leave the field out.
Dockerfile: do without the privilege: listen above 1023 and remove `setcap`, or `setcap -r` on the program.
Source: linux security/commoncap.c; opencontainers/runc libcontainer/init_linux.go
"""

from typing import Final

from webhook.evaluation import privileges
from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.privileges import BIND, Privileges, Program
from webhook.evaluation.subject import Subject
from webhook.text import quoted
from webhook.workload.podspec import SecurityContext

NAME: Final = "program-privileges"


def check(subject: Subject) -> Finding | None:
    """A contradiction between what is known of the image and the spec, or what would be injected."""
    known = privileges.privileges(subject)
    if known is None or not subject.uid or not (known.programs or known.setuid):
        return None
    return _taken_by_the_spec(subject, known) or (_injection(subject, known) if subject.injects else None)


def _taken_by_the_spec(subject: Subject, known: Privileges) -> Finding | None:
    """The container's own security context stops a program that it starts, or one that it may start."""
    context = subject.slot.container.security_context
    if context is None:
        return None
    stopped = [each for each in known.programs if each.effective and privileges.lacking(each.capabilities, context)]
    stopped.sort(key=lambda each: not each.started)
    if stopped and context.capabilities is not None:
        program = stopped[0]
        names = ", ".join(privileges.lacking(program.capabilities, context))
        return finding(
            subject,
            NAME,
            "a program cannot be executed",
            f"{image_user(subject)} has {_carrier(program)}, and its capabilities are without {names}: executing it "
            "fails with Operation not permitted",
            f"add {names} to {subject.field('capabilities')}.add, or remove the file capability in the Dockerfile: "
            f"setcap -r {program.path}",
            severity="warning" if program.started else "note",
            field="capabilities",
        )
    if known.setuid and context.allow_privilege_escalation is False:
        return finding(
            subject,
            NAME,
            "a setuid program has no effect",
            f"{image_user(subject)} needs {quoted(known.setuid[0])}, which allowPrivilegeEscalation: false makes powerless",
            f"leave {subject.field('allowPrivilegeEscalation')} out, or use an image that does without",
            severity="warning",
            field="allowPrivilegeEscalation",
        )
    return None


def _injection(subject: Subject, known: Privileges) -> Finding | None:
    """Defaults are left out for a program, or injected all the same because Pod Security restricted demands them."""
    wanted = subject.policy.defaults_of(subject.slot.container.image or "")
    own = subject.slot.container.security_context or SecurityContext()
    left = [
        name
        for name, needed, said in (
            ("capabilities", known.capabilities, own.capabilities),
            ("allowPrivilegeEscalation", known.escalation, own.allow_privilege_escalation),
        )
        if needed and said is None and name in wanted
    ]
    if not left:
        return None
    reason = _reason(known)
    fields = " and ".join(left)
    if subject.restricted:
        return finding(
            subject,
            NAME,
            "a program will not work",
            f"{image_user(subject)} has {reason}, which needs {fields} left alone; the namespace enforces Pod Security "
            "restricted, which demands them",
            "use an image that does without, or a namespace at the level baseline",
            severity="warning",
            field=left[0],
        )
    return finding(
        subject,
        NAME,
        "a default is left out",
        f"{image_user(subject)} has {reason}: {fields} {'are' if len(left) > 1 else 'is'} not injected",
        f"nothing to do; to decide yourself, set {subject.field(left[0])}",
        severity="note",
        field=left[0],
    )


def _reason(known: Privileges) -> str:
    worst = next((each for each in known.programs if set(each.capabilities) - {BIND}), None)
    program = worst or next((each for each in known.programs if not each.first), None)
    if known.setuid and worst is None:
        return f"the setuid program {quoted(known.setuid[0])}, which its start needs"
    return _carrier(program) if program else "no such program"


def _carrier(program: Program) -> str:
    return f"the program {quoted(program.path)} with the file capability {', '.join(program.capabilities)}"
