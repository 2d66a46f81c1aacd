"""The response about one image, as JSON and OpenAPI have it; read from what an image source has found."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from webhook.evaluation import kubelet
from webhook.image import suggestion, user
from webhook.image.filesystem import Survey
from webhook.image.source import Cause, Image, PlatformImage, Unknown
from webhook.image.user import GroupMismatch, Injection, PlatformIdentity
from webhook.workload.podspec import Container, PodSecurityContext
from webhook.workload.workload import effective

_SETUID = 0o4000
_NON_ROOT = effective(Container(), PodSecurityContext(run_as_non_root=True))


# `nonroot inspect -o json` says much the same in fields of its own (webhook.cli.output.inspection): they are two contracts,
# of which neither may change because the other does.
class Model(BaseModel):
    """An object whose JSON has its fields in camelCase, as Kubernetes' own."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class CapableProgram(Model):
    """A program that carries file capabilities."""

    path: str
    permitted: tuple[str, ...] = Field(description="Their names, without CAP_.")
    effective: bool = Field(description="Whether the kernel refuses to execute it where one of them is dropped.")


class WorkingDirectory(Model):
    """The directory that the image starts in."""

    path: str
    uid: int
    gid: int
    mode: str = Field(description="In octal: 0755.")


class SuggestedIdentity(Model):
    """The numbers that a root image is made for."""

    uid: int
    gid: int
    fs_group: int | None
    confidence: Literal["high", "medium"]
    evidence: tuple[str, ...]


class Facts(Model):
    """The facts of the image's layers, where they have been read."""

    file_capabilities: tuple[CapableProgram, ...]
    setuid_programs: tuple[str, ...]
    working_directory: WorkingDirectory | None
    suggestion: SuggestedIdentity | None


class PlatformUser(Model):
    """The USER of one platform's image."""

    platform: str = Field(description="As linux/amd64.")
    user: str = Field(description="USER as the image has it; empty where it has none, or where only its uid is known.")
    uid: int | None = Field(description="Null where it is not known, and on Windows.")
    gid: int | None
    groups: tuple[int, ...] | None = Field(
        description="All groups, the primary one among them; null where they were not needed."
    )
    home: str | None
    root: bool | None = Field(description="Null where the user is not known.")
    problem: str = Field(description="Why the user is not known; else empty.")
    facts: Facts | None


class UnknownImage(Model):
    """The reason why an image could not be read."""

    cause: Cause
    detail: str


class IdentityResponse(Model):
    """The response to a request about an image: who its USER is."""

    version: Literal[1] = 1
    image: str = Field(description="As it was asked for.")
    digest: str = Field(default="", description="What the reference stands for; empty where it is not known.")
    source: Literal["registry", "observed", "known"] | None = Field(
        default=None,
        description="The registry, a node that runs it, or a policy's knownImages; null where the image is unknown.",
    )
    age: float = Field(default=0.0, description="Seconds since that was last confirmed.")
    root: bool | None = Field(
        default=None, description="Whether it runs as root on any platform; null where that is not known."
    )
    uid: int | None = Field(
        default=None, description="The uid; null where it is not known or not the same on all platforms."
    )
    verifiable: bool = Field(
        default=False,
        description="Whether the kubelet starts it with runAsNonRoot: true alone: USER is a number above 0.",
    )
    run_as_user: int | None = Field(
        default=None,
        description="The runAsUser that keeps the identity, groups included; null for root, and where no number does.",
    )
    run_as_group: int | None = Field(
        default=None, description="The runAsGroup that runAsUser needs beside it; null: none."
    )
    problem: str = Field(
        default="", description="Why a user that is not root cannot be written as numbers; else empty."
    )
    platforms: tuple[PlatformUser, ...] = ()
    unknown: UnknownImage | None = Field(
        default=None, description="Why the image could not be read; null where it was."
    )


def of(image: str, found: Image | Unknown, os: str) -> IdentityResponse:
    """The response about an image on nodes of an operating system."""
    if isinstance(found, Unknown):
        return IdentityResponse(image=image, unknown=UnknownImage(cause=found.cause, detail=found.detail))
    analysis = user.analyse(found, os, run_as_group=None, strict=False)
    plan = analysis.plan
    platforms = tuple(
        _platform(each, identity, os) for each, identity in zip(found.platforms, analysis.identities, strict=True)
    )
    roots, uids = {each.root for each in platforms}, {each.uid for each in platforms}
    return IdentityResponse(
        image=image,
        digest=found.digest,
        source=found.source,
        age=found.age,
        root=True if True in roots else None if None in roots or not roots else False,
        uid=uids.pop() if len(uids) == 1 else None,
        verifiable=bool(platforms) and all(_verifiable(each, os) for each in analysis.identities),
        run_as_user=plan.uid if isinstance(plan, Injection) else None,
        run_as_group=plan.gid if isinstance(plan, Injection) else None,
        problem=plan.detail if isinstance(plan, GroupMismatch) else "",
        platforms=platforms,
    )


def _verifiable(identity: PlatformIdentity, os: str) -> bool:
    return not identity.user.unread and kubelet.refusal(_NON_ROOT, identity.user, os) is None


def _platform(image: PlatformImage, identity: PlatformIdentity, os: str) -> PlatformUser:
    known = identity.known
    if os == "windows":
        root: bool | None = kubelet.is_administrator(identity.user.name)
    else:
        root = known.uid == 0 if known else None
    return PlatformUser(
        platform=str(identity.platform),
        user=identity.user.text,
        uid=known.uid if known else None,
        gid=known.gid if known else None,
        groups=known.groups if known else None,
        home=known.home if known else None,
        root=root,
        problem=identity.problem,
        facts=_facts(image, image.survey) if isinstance(image.survey, Survey) else None,
    )


def _facts(image: PlatformImage, survey: Survey) -> Facts:
    at = next((each for each in survey.directories if each.role == "workingDirectory" and each.present), None)
    suggested = suggestion.suggest(image)
    return Facts(
        file_capabilities=tuple(
            CapableProgram(path=each.path, permitted=each.capabilities.permitted, effective=each.capabilities.effective)
            for each in survey.capable
        ),
        setuid_programs=tuple(each.path for each in survey.special if each.mode & _SETUID),
        working_directory=None
        if at is None
        else WorkingDirectory(path=at.path, uid=at.uid, gid=at.gid, mode=f"{at.mode:04o}"),
        suggestion=None
        if suggested is None
        else SuggestedIdentity(
            uid=suggested.uid,
            gid=suggested.gid,
            fs_group=suggested.fs_group,
            confidence=suggested.confidence,
            evidence=suggested.evidence,
        ),
    )
