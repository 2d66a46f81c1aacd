"""ImageIdentity objects: who the USER of an image is, stored in the cluster so that it outlives every replica.

    image_identity.of_image(reference, image, namespace, now)     # what a registry has answered, as objects to create
    image_identity.of_observation(fact, nodes, now)               # what a node has shown
    image_identity.platform_image(spec)                           # an object, as the image that it stands for

One object a digest, platform, repository and source, `app-k7hq2mtrzs4bu`: the repository's last word, and a hash of all four.
So nobody can keep another's out: whoever may read a digest in one repository has not shown that he may in another, and a node's
word is not a registry's. Only what was proven is stored: never a fault, never an Unknown, and no USER whose uid alone would not
give the same groups.
"""

import base64
import hashlib
import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from webhook.image import reference as references
from webhook.image import start, suggestion
from webhook.image import user as identity
from webhook.image.capabilities import FileCapabilities
from webhook.image.config import Config, Platform, User, normalise_platform, parse_user
from webhook.image.filesystem import Capable, Directory, Special, Suggestion, Survey
from webhook.image.passwd import ResolvedIds
from webhook.image.reference import Reference
from webhook.image.source import Image, PlatformImage
from webhook.image.user import Identity, Injection


class Observation(msgspec.Struct, frozen=True):
    """The identity of an image's USER, as a kubelet has reported it.

    `image` is the normalised reference that the Pod names; `user` is the USER where the kubelet has verified that it is a
    number, None where it may be a name; `groups` is None where the Pod added some of its own. Pods of `namespace` may use
    it, all where it is None: the node itself could pull it, or anybody can.
    """

    image: str
    digest: str
    platform: Platform
    uid: int
    gid: int
    user: str | None = None
    groups: tuple[int, ...] | None = None
    namespace: str | None = None


Id = Annotated[int, Meta(ge=0, le=4294967295)]
Place = Annotated[str, Meta(min_length=1, max_length=64)]
TEXT_LIMIT, GROUPS_LIMIT, PLATFORMS_LIMIT = 1024, 1000, 64
ALIASES_LIMIT = NAMESPACES_LIMIT = 32
DIGEST_LIMIT = 135  # characters of a sha512
Text = Annotated[str, Meta(max_length=TEXT_LIMIT)]

_PLATFORM = re.compile(r"[a-z0-9]+(?:/[a-z0-9]+(?:\.[a-z0-9]+)*){1,2}", re.ASCII)
_SETUID = 0o4000
_READABLE, _HASH_BYTES = 20, 8  # characters of a repository in a name, and bytes of the hash behind them
_NO_MEMBERSHIP = -1  # a gid that nobody has: with it, both look-ups agree only where all groups do


Path = Annotated[str, Meta(min_length=1, max_length=512)]
Capability = Annotated[str, Meta(min_length=1, max_length=32)]
Mode = Annotated[int, Meta(ge=0, le=4095)]
WORDS_LIMIT, PROGRAMS_LIMIT, EVIDENCE_LIMIT = 16, 64, 8


class _Fact(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Base of the facts."""


class CapableProgram(_Fact, frozen=True, gc=False):
    """A program with file capabilities, without CAP_; `effective`: the kernel refuses to give it fewer."""

    path: Path
    capabilities: Annotated[tuple[Capability, ...], Meta(max_length=64)]
    effective: bool = False


class WorkingDirectory(_Fact, frozen=True, gc=False):
    """The image's WORKDIR as its layers have it."""

    path: Path
    uid: Id
    gid: Id
    mode: Mode

    @property
    def directory(self) -> Directory:
        """As a survey has it."""
        return Directory(self.path, "workingDirectory", present=True, uid=self.uid, gid=self.gid, mode=self.mode)


class SuggestedIdentity(_Fact, frozen=True, gc=False):
    """The numbers that a root image is made for."""

    uid: Id
    gid: Id
    confidence: Literal["high", "medium"]
    evidence: Annotated[tuple[Text, ...], Meta(max_length=EVIDENCE_LIMIT)]
    fs_group: Id | None = None


class ImageFacts(_Fact, frozen=True, gc=False):
    """The needs of an image's programs, from its layers: read by the controller, once an image."""

    command_line: Annotated[
        tuple[Annotated[str, Meta(max_length=512)], ...],
        Meta(max_length=WORDS_LIMIT, description="The words that the image starts with."),
    ] = ()
    capable: Annotated[
        tuple[CapableProgram, ...], Meta(max_length=PROGRAMS_LIMIT, description="Programs with file capabilities.")
    ] = ()
    setuid: Annotated[
        tuple[Path, ...], Meta(max_length=PROGRAMS_LIMIT, description="Setuid programs that anybody may start.")
    ] = ()
    working_directory: WorkingDirectory | None = None
    suggestion: SuggestedIdentity | None = None


class ImageIdentitySpec(
    msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """The USER of one image on one platform. The object is named after its repository and a hash, as `app-k7hq2mtrzs4bu`."""

    image: Annotated[
        str,
        Meta(
            min_length=1, max_length=TEXT_LIMIT, description="The normalised reference under which it was seen first."
        ),
    ]
    platform: Annotated[str, Meta(min_length=1, max_length=64, description="As linux/amd64 or linux/arm64/v8.")]
    uid: Id
    source: Annotated[
        Literal["registry", "observed"], Meta(description="Who said so: the registry, or a running container.")
    ]
    first_seen: Annotated[datetime, Meta(tz=True, description="When it was written.")]
    last_seen: Annotated[datetime, Meta(tz=True, description="When it was last known to be in use, to the day.")]
    user: Annotated[
        Text | None,
        Meta(
            description="USER of the image's config, verbatim; its number where a kubelet has verified that it is one; unset "
            "where a running container cannot tell."
        ),
    ] = None
    gid: Annotated[Id | None, Meta(description="Its primary group; unset where it was not needed.")] = None
    groups: Annotated[
        tuple[Id, ...],
        Meta(max_length=GROUPS_LIMIT, description="Every group of the process, the primary one too; empty: not known."),
    ] = ()
    platforms: Annotated[
        tuple[Place, ...],
        Meta(
            max_length=PLATFORMS_LIMIT,
            description="Every platform on which the digest may run: those of its index in their order or, where nodes have "
            "shown it, those of the cluster's nodes. Empty for a single manifest, which is the same everywhere.",
        ),
    ] = ()
    aliases: Annotated[
        tuple[Text, ...],
        Meta(
            max_length=ALIASES_LIMIT,
            description="Other references of the same repository that were seen to stand for it.",
        ),
    ] = ()
    namespaces: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=63)], ...],
        Meta(
            max_length=NAMESPACES_LIMIT,
            description="The namespaces whose pull secrets have opened the image: it is used for no other. Empty: for every one.",
        ),
    ] = ()
    facts: Annotated[
        ImageFacts | None, Meta(description="What its programs need; unset where its layers were not read.")
    ] = None
    digest: Annotated[
        str,
        Meta(
            max_length=DIGEST_LIMIT,
            description="The image's digest. Objects of former versions have it in their names.",
        ),
    ] = ""


class ImageIdentity(msgspec.Struct, frozen=True, gc=False):
    """An object and its name; `resource_version` is empty for one that does not exist yet."""

    name: str
    spec: ImageIdentitySpec
    resource_version: str = ""

    @property
    def digest(self) -> str:
        """The digest; of an object of a former version, the one after which it is named."""
        algorithm, encoded, *_ = (*self.name.split("-", 2), "")
        return self.spec.digest or f"{algorithm}:{encoded}"

    @property
    def proper_name(self) -> str:
        """The name that such an object gets now."""
        return _name(self.digest, self.spec)


def of_image(reference: Reference, image: Image, namespace: str | None, now: datetime) -> list[ImageIdentity]:
    """The ImageIdentity objects of a registry's answer, as far as it is proven and can be repeated exactly.

    `namespace` is whose pull secrets opened it, None where it is open to all.
    """
    if image.source != "registry" or image.age or image.index is None:
        return []
    platforms = tuple(map(str, image.index))
    made = []
    for each in image.platforms:
        user, who = each.config.user, identity.resolve(each.config.user, each.accounts)
        place = str(each.platform)
        if not isinstance(who, Identity) or not _plain(each) or (platforms and place not in platforms):
            continue
        spec = ImageIdentitySpec(
            image=str(reference),
            platform=place,
            uid=who.uid,
            source="registry",
            first_seen=now,
            last_seen=now,
            user=user.text,
            gid=who.gid,
            groups=who.groups or (),
            platforms=platforms,
            namespaces=() if namespace is None else (namespace,),
            digest=image.digest,
        )
        if _storable(spec):
            made.append(ImageIdentity(_name(image.digest, spec), spec))
    return made


def of_observation(fact: Observation, nodes: tuple[Platform, ...], now: datetime) -> ImageIdentity | None:
    """The ImageIdentity object of an observation, None where it cannot be stored.

    `nodes` are the platforms of all nodes there are.
    """
    spec = ImageIdentitySpec(
        image=fact.image,
        platform=str(fact.platform),
        uid=fact.uid,
        source="observed",
        first_seen=now,
        last_seen=now,
        user=fact.user,
        gid=fact.gid,
        groups=fact.groups or (),
        platforms=tuple(sorted({*map(str, nodes), str(fact.platform)})),
        namespaces=() if fact.namespace is None else (fact.namespace,),
        digest=fact.digest,
    )
    return ImageIdentity(_name(fact.digest, spec), spec) if _storable(spec) else None


def _storable(spec: ImageIdentitySpec) -> bool:
    """Whether it is within the bounds of the CRD."""
    return (
        _PLATFORM.fullmatch(spec.platform) is not None
        and max(len(spec.image), len(spec.user or "")) <= TEXT_LIMIT
        and len(spec.groups) <= GROUPS_LIMIT
        and len(spec.platforms) <= PLATFORMS_LIMIT
        and len(spec.digest) <= DIGEST_LIMIT
    )


def platform_image(spec: ImageIdentitySpec) -> PlatformImage:
    """The image of one platform, as far as it matters to who runs."""
    user = User("", uid=spec.uid) if spec.user is None else parse_user(spec.user)
    line = spec.facts.command_line if spec.facts else ()
    config = Config(user, normalise_platform(*spec.platform.split("/", 2)), entrypoint=line)
    accounts = ResolvedIds(spec.uid, spec.gid, spec.groups or None)
    return PlatformImage(config, accounts=accounts, survey=None if spec.facts is None else _survey(spec.facts))


def facts(image: PlatformImage) -> ImageFacts | None:
    """The facts of a survey to store; None where there is none, or more than an object may hold."""
    survey = image.survey
    if not isinstance(survey, Survey):
        return None
    suggested = suggestion.suggest(image)
    made = ImageFacts(
        tuple(word[:512] for word in start.words(image.config)[:WORDS_LIMIT]),
        tuple(
            CapableProgram(each.path, each.capabilities.permitted, each.capabilities.effective)
            for each in survey.capable
        ),
        tuple(each.path for each in survey.special if each.mode & _SETUID),
        next(
            (
                WorkingDirectory(each.path, each.uid, each.gid, each.mode)
                for each in survey.directories
                if each.role == "workingDirectory" and each.present
            ),
            None,
        ),
        None
        if suggested is None
        else SuggestedIdentity(
            suggested.uid, suggested.gid, suggested.confidence, suggested.evidence, suggested.fs_group
        ),
    )
    try:
        return msgspec.convert(msgspec.to_builtins(made), ImageFacts)
    except msgspec.ValidationError:
        return None


def _survey(found: ImageFacts) -> Survey:
    """The survey that the facts stand for."""
    at, suggested = found.working_directory, found.suggestion
    return Survey(
        None,
        () if at is None else (at.directory,),
        tuple(Special(path, 0, 0, _SETUID | 0o755) for path in found.setuid),
        tuple(Capable(each.path, FileCapabilities(each.capabilities, each.effective)) for each in found.capable),
        suggestion=None
        if suggested is None
        else Suggestion(suggested.uid, suggested.gid, suggested.fs_group, suggested.confidence, suggested.evidence),
    )


def _name(digest: str, spec: ImageIdentitySpec) -> str:
    """Short enough for a line of a terminal, and of this digest, platform, repository and source alone."""
    repository = references.parse(spec.image).name
    known_by = f"{digest}\n{spec.platform}\n{repository}\n{spec.source}"
    short = base64.b32encode(hashlib.sha256(known_by.encode()).digest()[:_HASH_BYTES]).decode().rstrip("=").lower()
    readable = re.sub(r"[^a-z0-9]+", "-", repository.rpartition("/")[2])[:_READABLE].strip("-")
    return f"{readable}-{short}"


def _plain(image: PlatformImage) -> bool:
    """Whether in any Pod at all its uid alone stands for its USER."""
    user, accounts = image.config.user, image.accounts
    plans = [identity.injection(user, accounts, group) for group in (None, _NO_MEMBERSHIP)]
    return all(isinstance(plan, Injection) and plan.gid is None for plan in plans)
