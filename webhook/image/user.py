"""The identity of a container's first process: exact numbers, or an error that says why there are none.

Sources: containerd/containerd internal/cri/util/util.go (GenerateUserString), pkg/oci/spec_opts.go (WithUser,
WithUserID, WithUsername, WithAppendAdditionalGroups); moby/sys user/user.go (GetExecUser, for CRI-O); kubernetes
pkg/kubelet/kuberuntime/security_context.go (the group half of USER is never used); opencontainers/runc
libcontainer/env.go (HOME follows the uid).
"""

from typing import Literal
from weakref import WeakKeyDictionary

import msgspec

from webhook.image import passwd as files
from webhook.image import suggestion
from webhook.image.config import UID_MAX, Platform, User
from webhook.image.filesystem import Suggestion
from webhook.image.golang import parse_decimal
from webhook.image.passwd import AccountFiles, Entry, ResolvedIds, UnreadableAccounts
from webhook.image.source import Image, Unknown

_UINT32 = 2**32 - 1
_ANALYSES_LIMIT = 64  # remembered of one image: runAsGroup is anybody's choice


class Identity(msgspec.Struct, frozen=True, gc=False):
    """The uid, gid, groups and home of a process. `groups` are sorted, the primary one among them.

    `gid`, `groups` and `home` are None where they were not needed.
    """

    uid: int
    gid: int | None = None
    groups: tuple[int, ...] | None = None
    home: str | None = None


class ResolutionError(msgspec.Struct, frozen=True, gc=False):
    """A USER that stands for nobody (`unresolvable`: the runtime fails too) or must not be trusted (`invalid`)."""

    kind: Literal["unresolvable", "invalid"]
    detail: str


class Injection(msgspec.Struct, frozen=True, gc=False):
    """The numbers that stand for the image's USER; `gid` only where the look-up by uid would find another group."""

    uid: int
    gid: int | None = None

    def replacing(self, user: User) -> str:
        """The USER to write instead: the numbers, and the group that stood behind the name.

        Kubernetes never looks at that group, but whatever else runs the image does.
        """
        group = user.text.partition(":")[2] if self.gid is None else str(self.gid)
        return f"{self.uid}:{group}" if group.isprintable() and group else str(self.uid)


class GroupMismatch(msgspec.Struct, frozen=True, gc=False):
    """No numbers keep the identity: by uid, the runtime finds another passwd line, with other groups."""

    detail: str


class PlatformIdentity(msgspec.Struct, frozen=True, gc=False):
    """One platform's image: who its USER is; None for Windows nodes, where nobody has a uid."""

    platform: Platform
    user: User
    identity: Identity | ResolutionError | Unknown | None

    @property
    def known(self) -> Identity | None:
        """The identity, where it is known."""
        return self.identity if isinstance(self.identity, Identity) else None

    @property
    def problem(self) -> str:
        """The reason why the identity is not known; empty where it is, and for Windows nodes."""
        return self.identity.detail if isinstance(self.identity, ResolutionError | Unknown) else ""


def resolve(user: User, accounts: AccountFiles | ResolvedIds | Unknown | None) -> Identity | ResolutionError | Unknown:
    """The identity of a USER where the spec does not set another. A number needs no accounts; a name without them is a bug."""
    if isinstance(accounts, ResolvedIds):
        return Identity(accounts.uid, accounts.gid, accounts.groups)
    number = 0 if user.uid is None and not user.name else user.uid
    if number is not None:
        if not 0 <= number <= UID_MAX:
            return ResolutionError("invalid", f"USER {user.text[:80]!a} is a number outside 1 to {UID_MAX}")
        return _numeric(number, accounts)
    if user.looks_numeric:
        return ResolutionError(
            "invalid", f"USER {user.text[:80]!a} is a number beyond 64 bits, which older runtimes look up as a name"
        )
    if isinstance(accounts, Unknown):
        return accounts
    if accounts is None:
        raise ValueError("a USER name cannot be resolved without the image's accounts")
    return _named(user.name, accounts)


def _numeric(uid: int, accounts: AccountFiles | Unknown | None) -> Identity | ResolutionError:
    if not isinstance(accounts, AccountFiles):
        return Identity(uid)
    try:
        entry = files.by_uid(accounts, uid)
        supplementary = _supplementary(accounts, entry.name if entry else None)
    except UnreadableAccounts as error:
        return ResolutionError("unresolvable", str(error))
    return _identity(uid, entry.gid if entry else 0, supplementary, entry.home if entry else "/")


def _named(name: str, accounts: AccountFiles) -> Identity | ResolutionError:
    if accounts.passwd is None:
        return ResolutionError("unresolvable", "the image has no /etc/passwd")
    try:
        entry, first = _by_name_and_uid(accounts, name)
        supplementary = _supplementary(accounts, name)
    except UnreadableAccounts as error:
        return ResolutionError("unresolvable", str(error))
    if entry is None:
        return ResolutionError("unresolvable", f"the image's /etc/passwd has no user {name[:80]!a}")
    if not 0 <= entry.uid <= UID_MAX:
        return ResolutionError(
            "invalid",
            f"line {entry.line} of the image's /etc/passwd gives {name[:80]!a} the uid {entry.uid_text[:80]!a}, "
            "of which the runtimes make another number",
        )
    return _identity(entry.uid, entry.gid, supplementary, first.home if first else "/")


def _by_name_and_uid(accounts: AccountFiles, name: str) -> tuple[Entry | None, Entry | None]:
    """The first line of that name, and the first one of its uid, which a runtime finds that is given the number."""
    named = files.by_name(accounts, name)
    return named, files.by_uid(accounts, named.uid) if named else None


def _supplementary(accounts: AccountFiles, name: str | None) -> frozenset[int] | None:
    """The supplementary gids of a line of that name, none where there is no line; None where /etc/group was not read."""
    if name is None:
        return frozenset()
    return files.supplementary(accounts, name) if accounts.group_read else None


def _identity(uid: int, gid: int, supplementary: frozenset[int] | None, home: str) -> Identity:
    primary = gid & _UINT32  # both runtimes cast without a range check
    home = home.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # a person reads it, and JSON takes it
    groups = None if supplementary is None else {primary} | {group & _UINT32 for group in supplementary}
    return Identity(uid, primary, None if groups is None else tuple(sorted(groups)), home)


def gid_out_of_range(identity: Identity, run_as_group: int | None, strict: bool) -> int | None:
    """A gid that the process would get from the image and cannot have; None where there is none, or nobody looked.

    Beyond int31 runc does not start the process, and the API server refuses every status of the Pod that names such a
    number, also the one that would let it be deleted (kubernetes pkg/apis/core/validation/validation.go,
    validateLinuxContainerUser). A negative gid in a file becomes one. What the spec says instead of the image is fine.
    """
    primary, groups = identity.gid, identity.groups
    if primary is not None and primary > UID_MAX and run_as_group is None:
        return primary
    if strict or not groups:
        return None
    return next((gid for gid in groups if gid > UID_MAX and gid != primary), None)


def group_matters(user: User, passwd: bytes | None) -> bool:
    """Whether /etc/group can change what is injected for a USER name: where its uid is another line's first, or a group is named.

    Else it could only show that a process has a group that it cannot have, which its start shows, too.
    """
    try:
        named, first = _by_name_and_uid(AccountFiles(passwd), user.name)
    except UnreadableAccounts:
        return False
    return ":" in user.text or (named is not None and first is not None and first.name != named.name)


def injection(
    user: User,
    accounts: AccountFiles | ResolvedIds | Unknown | None,
    run_as_group: int | None = None,
    strict: bool = False,
) -> Injection | GroupMismatch | None:
    """The numbers under which the process keeps uid, gid, supplementary groups and HOME.

    None where `resolve` finds nobody.

    `run_as_group` is the spec's effective one, `strict` its supplementalGroupsPolicy: both change what a look-up by uid
    could change. A USER that is a number is what the kubelet sends anyway. Of one that nobody has read the gid is
    written, too: it may be a name whose uid is somebody else's first.
    """
    identity = resolve(user, accounts)
    if not isinstance(identity, Identity):
        return None
    if user.unread and run_as_group is None:
        return Injection(identity.uid, identity.gid)
    if user.uid is not None or not user.name or not isinstance(accounts, AccountFiles):
        return Injection(identity.uid)
    named, first = _by_name_and_uid(accounts, user.name)
    if named is None or first is None or named.name == first.name:
        return Injection(identity.uid)
    gid = named.gid if run_as_group is None else run_as_group
    memberships = zip(
        _memberships(accounts, named.name, strict), _memberships(accounts, first.name, strict), strict=True
    )
    if all(by_name | {gid} == by_uid | {gid} for by_name, by_uid in memberships):
        if run_as_group is not None or named.gid == first.gid:
            return Injection(identity.uid)
        if 0 <= gid <= UID_MAX:
            return Injection(identity.uid, gid)
    return GroupMismatch(
        f"uid {identity.uid} belongs to {first.name[:80]!a} first (line {first.line} of /etc/passwd), "
        f"whose groups differ from those of {user.name[:80]!a}"
    )


def stated_group(image: Image) -> int | None:
    """The gid that the USER of an image names after its colon, the same on every platform; None where none is known.

    Docker starts the process with it, and Kubernetes does not: kubernetes#93666. A number needs no group file, a name one
    that was read; a second colon is an error. Source: containerd/containerd pkg/oci/spec_opts.go (WithUser).
    """
    found = {_stated_group(each.config.user, each.accounts) for each in image.platforms}
    return found.pop() if len(found) == 1 else None


def _stated_group(user: User, accounts: AccountFiles | ResolvedIds | Unknown | None) -> int | None:
    _, _, text = user.text.partition(":")
    number = parse_decimal(text)
    if number is None and text and isinstance(accounts, AccountFiles):
        try:
            number = next((each.gid for each in files.groups(accounts.group) if each.name == text), None)
        except UnreadableAccounts:
            return None
    return number if number is not None and 0 <= number <= UID_MAX else None


def _memberships(accounts: AccountFiles, name: str, strict: bool) -> tuple[frozenset[int], frozenset[int]]:
    """Supplementary gids as containerd finds them, and as CRI-O does.

    CRI-O also counts a group of the user's own name, and none at all for a line without a name.
    """
    if strict:
        return frozenset(), frozenset()
    everywhere = frozenset(group.gid for group in files.groups(accounts.group) if name and name in group.members)
    return files.supplementary(accounts, name), everywhere


def platform_identities(image: Image, os: str) -> tuple[PlatformIdentity, ...]:
    """Every platform's identity on nodes of that `os`, which is the Pod's and not what the image's config claims.

    containerd runs a single manifest whatever platform its config names (core/images/image.go, Manifest).
    """
    return tuple(
        PlatformIdentity(
            each.platform,
            each.config.user,
            None if os == "windows" else resolve(each.config.user, each.accounts),
        )
        for each in image.platforms
    )


class ImageAnalysis(msgspec.Struct, frozen=True, gc=False):
    """The `identities` of an image's platforms, and the one `plan` that is right for all of them.

    The plan is what would be injected: None on Windows, and where there is none or somebody is root. `fault_free`: the
    registry itself says of every platform that it runs as the same uid, and that is not root, with groups that a process
    can have. `suggested` is the identity that a root image is made for, None where that is not evident.
    """

    identities: tuple[PlatformIdentity, ...]
    plan: Injection | GroupMismatch | None
    fault_free: bool
    suggested: Suggestion | None


_Key = tuple[str, int | None, bool]
_ANALYSES: WeakKeyDictionary[Image, dict[_Key, ImageAnalysis]] = WeakKeyDictionary()


def analyse(image: Image, os: str, run_as_group: int | None, strict: bool) -> ImageAnalysis:
    """The analysis for nodes of that `os`; worked out once, and remembered for as long as the image is.

    `run_as_group` and `strict` are those of `injection`.
    """
    analyses = _ANALYSES.get(image)
    if analyses is None:
        analyses = _ANALYSES[image] = {}
    key = (os, run_as_group, strict)
    analysis = analyses.get(key)
    if analysis is None:
        if len(analyses) >= _ANALYSES_LIMIT:
            analyses.clear()
        found = platform_identities(image, os)
        plan = _plan(image, found, run_as_group, strict)
        fault_free, suggested = _fault_free(image, found, plan, run_as_group, strict), suggestion.first(image.platforms)
        analysis = analyses[key] = ImageAnalysis(found, plan, fault_free, suggested)
    return analysis


def _plan(
    image: Image, found: tuple[PlatformIdentity, ...], run_as_group: int | None, strict: bool
) -> Injection | GroupMismatch | None:
    if not all(isinstance(answer.identity, Identity) and answer.identity.uid for answer in found):
        return None
    plans = [injection(each.config.user, each.accounts, run_as_group, strict) for each in image.platforms]
    drift = next((plan for plan in plans if isinstance(plan, GroupMismatch)), None)
    return drift or _common([plan for plan in plans if isinstance(plan, Injection)], found)


def _common(plans: list[Injection], found: tuple[PlatformIdentity, ...]) -> Injection | None:
    """The numbers that are right on every platform.

    A gid that one platform needs is written for all where it is the primary group of the others anyway.
    """
    if len(set(plans)) == 1:
        return plans[0]
    if len({plan.uid for plan in plans}) > 1:
        return None
    gids = {plan.gid for plan in plans} - {None}
    primary = {each.identity.gid for each in found if isinstance(each.identity, Identity)}
    return Injection(plans[0].uid, gids.pop()) if len(gids) == 1 and primary == gids else None


def _fault_free(
    image: Image,
    found: tuple[PlatformIdentity, ...],
    plan: Injection | GroupMismatch | None,
    run_as_group: int | None,
    strict: bool,
) -> bool:
    return (
        image.source == "registry"
        and isinstance(plan, Injection)
        and all(
            isinstance(each.identity, Identity) and gid_out_of_range(each.identity, run_as_group, strict) is None
            for each in found
        )
    )
