"""The container's uid cannot enter the image's working directory.

Why: the container starts in WORKDIR, and its user can open nothing there by a relative path. runc before 1.0, which changed to
it as that user, does not start it: "chdir to cwd … permission denied".
Fails: a uid that the spec sets, or that is injected, with an image whose WORKDIR is another's and closed to others, as
far as its layers were read.
Passes: a WORKDIR that others may enter, one that the Pod replaces by `workingDir`, or mounts a volume on.
Fix: set `securityContext.runAsUser` to the directory's owner, or `workingDir` to another one.
Dockerfile: `RUN chmod 755 DIRECTORY`, or `COPY --chown` for the user that runs.
Source: opencontainers/runc libcontainer/init_linux.go (finalizeNamespace: chdir)
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.filesystem import Survey
from webhook.image.user import Identity
from webhook.text import quoted

NAME: Final = "working-directory"


def check(subject: Subject) -> Finding | None:
    """Some platform's WORKDIR is closed to the uid."""
    container = subject.slot.container
    if subject.os != "linux" or subject.layers is None or not subject.uid or container.working_dir:
        return None
    surveys = [each.survey for each in subject.layers.platforms if isinstance(each.survey, Survey)]
    if not surveys:
        return None
    mounted = {each.mount_path for each in container.volume_mounts or ()}
    groups = {subject.effective.run_as_group, *(subject.workload.context.supplemental_groups or ())}
    for answer in subject.identities:
        if isinstance(answer.identity, Identity) and answer.identity.uid == subject.uid:
            groups |= {answer.identity.gid, *(answer.identity.groups or ())}
    for survey in surveys:
        for found in survey.directories:
            if found.role != "workingDirectory" or not found.present or found.path in mounted:
                continue
            if not found.enterable(subject.uid, groups):
                return finding(
                    subject,
                    NAME,
                    "working directory is closed",
                    f"{image_user(subject)} runs as uid {subject.uid}, which may not enter the working directory "
                    f"{quoted(found.path)} of uid {found.uid}, mode {found.mode:04o}: it can open nothing there",
                    f"set {subject.field('runAsUser')}: {found.uid}, set workingDir, or chmod 755 it in the Dockerfile"
                    if found.uid
                    else "set workingDir, or chmod 755 it in the Dockerfile",
                    severity="warning",
                )
    return None
