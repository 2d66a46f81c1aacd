"""A second opinion on who a container will be, written from the upstream sources and sharing no code with `webhook`.

It works forwards, as a node does: spec and image in, what happens out. From that it derives what a webhook should say,
by trying the cure and looking whether the same process comes out, where `webhook.image.user` compares groups instead.

Sources: kubernetes pkg/kubelet/kuberuntime/{helpers,security_context_others,security_context}.go; containerd/containerd
internal/cri/server/images/image_status.go, internal/cri/util/util.go, internal/cri/server/container_create_linux.go,
pkg/oci/spec_opts.go; cri-o/cri-o server/container_create.go; moby/sys user/user.go; opencontainers/runc
libcontainer/init_linux.go.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

INT31, INT64 = 2**31 - 1, 2**63 - 1
RUNC_RANGE = "uids and gids must be in range 0-2147483647"
SCANNER = 64 * 1024  # bufio.MaxScanTokenSize

Context = Mapping[str, Any]  # a securityContext as the API writes it, without nulls


class Files(msgspec.Struct, frozen=True):
    """An image's account files; None where it has none."""

    passwd: bytes | None
    group: bytes | None


class Node(msgspec.Struct, frozen=True):
    """The kubelet and the runtime that creates containers, with their versions where their answers depend on them."""

    runtime: Literal["containerd", "cri-o"] = "containerd"
    version: tuple[int, int, int] = (2, 3, 4)
    kubelet: tuple[int, int] = (1, 36)

    @property
    def refuses_huge_numbers(self) -> bool:
        """Whether it has the fix for CVE-2026-46680, before which a number beyond int31 was looked up as a name."""
        line, patch = self.version[:2], self.version[2]
        return line >= (2, 4) or patch >= {(1, 7): 32, (2, 0): 9, (2, 1): 8, (2, 2): 4, (2, 3): 1}.get(line, 10**9)

    @property
    def refuses_numbers_out_of_range(self) -> bool:
        """Whether the kubelet's demand of a non-root user is also one of a number that the API would take."""
        return self.kubelet >= (1, 34)

    @property
    def says_who_runs(self) -> bool:
        """Whether a container's status has its user, and supplementalGroupsPolicy works: both came by one feature of CRI."""
        return self.kubelet >= (1, 33) and self.version >= (2, 0, 0)

    @property
    def follows_absolute_links(self) -> bool:
        """Whether /etc/passwd may be an absolute link: 2.2.0 opened it by os.Root, which refuses one, and 2.2.3 mended that."""
        return not (2, 2, 0) <= self.version <= (2, 2, 2)

    @property
    def opens_low_ports(self) -> bool:
        """Whether anybody may listen at a port below 1024: containerd's `enable_unprivileged_ports` is on since 2.0."""
        return self.version >= (2, 0, 0)


NEWEST = Node()


class Ran(msgspec.Struct, frozen=True):
    """The process started, as this."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class Stuck(msgspec.Struct, frozen=True):
    """It did not: the reason in the container's status, and words that its message holds.

    `Frozen` is a reason of our own: with an id beyond int31 runc mostly refuses to start the process, and whatever it
    does, the API server refuses every status of the Pod from then on (kubernetes
    pkg/apis/core/validation/validation.go, validateLinuxContainerUser), even the one that would let it be deleted.
    """

    reason: str
    words: str


Outcome = Ran | Stuck


class _Row(msgspec.Struct, frozen=True):
    name: str
    uid: int
    gid: int
    home: str


class _Failed(Exception):
    """The runtime gives up with these words."""


def outcome(user: str | None, files: Files, pod: Context, container: Context, node: Node) -> Outcome:
    """What becomes of a container of an image with this `config.User` and these files."""
    wish = {**pod, **container}  # the four fields that matter are merged like this; the Pod's others stand alone
    image = image_user(user)
    complaint = verify_run_as_non_root(wish, image, node)
    if complaint:
        return Stuck("CreateContainerConfigError", complaint)
    try:
        uid, gid, groups = _create(wish.get("runAsUser", image), wish, files, node)
    except _Failed as failure:
        return Stuck("CreateContainerError", str(failure))
    everyone = tuple(sorted({gid, *groups, *wish.get("supplementalGroups", ())}))
    if node.says_who_runs and max(uid, *everyone) > INT31:
        return Stuck("Frozen", "")
    try:
        row = next((row for row in _passwd(files.passwd) if row.uid == uid), None)
    except _Failed as failure:
        return Stuck("StartError", str(failure))
    if max(everyone) > INT31 or (uid > INT31 and row is None):  # moby/sys user/user.go, GetExecUser, which runc calls
        return Stuck("StartError", RUNC_RANGE)
    home = row.home if row else "/"
    return Ran(uid, gid, everyone, home)


def image_user(user: str | None) -> int | str:
    """What the kubelet hears of USER: a number, or a name; of no USER it makes the number 0."""
    left = (user or "").split(":")[0]
    value = _atoi(left)
    return 0 if not left else left if value is None or isinstance(value, _Overflow) else value


def verify_run_as_non_root(wish: Context, image: int | str, node: Node = NEWEST) -> str:
    """The kubelet's complaint without its closing parenthesis, or nothing."""
    asked = wish.get("runAsUser")
    out_of_range = (
        f"container has runAsNonRoot and image has an invalid user id ({image}). "
        f"(Must be 1-({INT31})): must be between 0 and {INT31}, inclusive"
    )
    table = (
        (not wish.get("runAsNonRoot"), ""),
        (asked == 0, "container's runAsUser breaks non-root policy"),
        (asked is not None, ""),
        (
            isinstance(image, str),
            f"container has runAsNonRoot and image has non-numeric user ({image}), cannot verify user is non-root",
        ),
        (image == 0, "container has runAsNonRoot and image will run as root"),
        (node.refuses_numbers_out_of_range and isinstance(image, int) and not 0 <= image <= INT31, out_of_range),
    )
    return next((complaint for holds, complaint in table if holds), "")


def _create(who: int | str, wish: Context, files: Files, node: Node) -> tuple[int, int, frozenset[int]]:
    """uid, gid and the image's supplementary gids; `_Failed` where the runtime finds nobody."""
    group = wish.get("runAsGroup")
    valid = isinstance(who, int) and 0 <= who <= INT31
    if not valid and (isinstance(who, int) or isinstance(_atoi(who), _Overflow)) and node.refuses_huge_numbers:
        raise _Failed("uid out of range")
    if isinstance(who, int) and valid:
        uid, gid = who, 0
        if group is None or node.runtime == "cri-o":  # containerd looks nothing up where both are numbers
            row = _by_number(files, who)
            gid = row.gid if row else 0
    else:
        row = _by_name(files, str(who))
        uid, gid = row.uid, row.gid
    groups: frozenset[int] = frozenset()
    if wish.get("supplementalGroupsPolicy") != "Strict":
        member = _by_number(files, who) if isinstance(who, int) else row
        groups = _memberships(files, member, own=node.runtime == "cri-o")
    return _uint32(uid), _uint32(gid if group is None else group), frozenset(map(_uint32, groups))


def _by_number(files: Files, number: int) -> _Row | None:
    """The first line with that uid, if there is one."""
    return next((row for row in _passwd(files.passwd) if row.uid == number), None)


def _by_name(files: Files, name: str) -> _Row:
    """The first line with that name, which there must be."""
    for row in _passwd(files.passwd):
        if row.name == name:
            return row
    raise _Failed("no users found" if files.passwd is not None else "etc/passwd: no such file or directory")


def _memberships(files: Files, member: _Row | None, *, own: bool) -> frozenset[int]:
    """The groups that list a user; `own` says whether one of the user's own name counts."""
    if member is None:
        return frozenset()
    return frozenset(
        listed.gid
        for listed, members in _group(files.group)
        if member.name in members and (own or listed.name != member.name)
    )


@lru_cache(maxsize=512)
def _passwd(content: bytes | None) -> tuple[_Row, ...]:
    rows = []
    for line in (content or b"").split(b"\n"):
        if len(line) >= SCANNER:
            raise _Failed("token too long")
        text = line.decode().strip()
        if text:
            fields = text.split(":") + [""] * 6
            rows.append(_Row(fields[0], _int(fields[2]), _int(fields[3]), fields[5]))
    return tuple(rows)


@lru_cache(maxsize=512)
def _group(content: bytes | None) -> tuple[tuple[_Row, tuple[str, ...]], ...]:
    lines = (line.decode().strip() for line in (content or b"").split(b"\n"))
    return tuple(
        (_Row(fields[0], 0, _int(fields[2]), ""), tuple(filter(None, fields[3].split(","))))
        for fields in (line.split(":") + [""] * 3 for line in lines if line and not line.startswith("#"))
    )


class _Overflow(msgspec.Struct, frozen=True):
    """strconv's range error, and the edge of int64 that comes with it."""

    edge: int


def _atoi(text: str) -> int | _Overflow | None:
    """Go's strconv.Atoi: a number, its range error, or None for its syntax error.

    Digits beyond 64 bits are out of range whatever follows them, because it stops there.
    """
    match = re.match("([+-]?)([0-9]+)", text)
    if not match:
        return None
    size = int(match[2])
    negative = match[1] == "-"
    if size < 2**64 and match.end() < len(text):
        return None
    if size > INT64 + negative:
        return _Overflow(-INT64 - 1 if negative else INT64)
    return -size if negative else size


def _int(field: str) -> int:
    """A number field of an account file: errors are dropped, and what Atoi returned beside them is kept."""
    value = _atoi(field)
    return value.edge if isinstance(value, _Overflow) else value or 0


def _uint32(number: int) -> int:
    return number % 2**32


# --- what a webhook should say ---------------------------------------------------------------------------------------

State = Literal["compliant", "fixable", "denied"]
_JUDGES = (NEWEST, Node("cri-o"))


class Advice(msgspec.Struct, frozen=True):
    """The verdict under a policy that refuses root and injects, the rule behind it, and the fields of the cure."""

    state: State
    rule: str = ""
    cure: tuple[tuple[str, int], ...] = ()


def advice(user: str | None, files: Files, pod: Context, container: Context) -> Advice:
    """Refused where the process would be root or nobody, or the cure would make it somebody else; else fine or fixable.

    A number needs no look at the files: that they are unreadable is not counted here (see `unreadable`).
    """
    wish = {**pod, **container}
    image = image_user(user)
    if "runAsUser" in wish:
        return Advice("denied", "root-user") if wish["runAsUser"] == 0 else Advice("compliant")
    if image == 0:
        return Advice("denied", "root-image")
    if isinstance(image, int):
        safe = 0 < image <= INT31
        return Advice("compliant", cure=(("runAsUser", image),)) if safe else Advice("denied", "invalid-user")
    if isinstance(_atoi(image), _Overflow):
        return Advice("denied", "invalid-user")
    return _named(user, image, files, pod, container)


def _named(user: str | None, name: str, files: Files, pod: Context, container: Context) -> Advice:
    try:
        row = _by_name(files, name)
    except _Failed:
        return Advice("denied", "unresolvable-user")
    if not 0 <= row.uid <= INT31:
        return Advice("denied", "invalid-user")
    if row.uid == 0:
        return Advice("denied", "root-image")
    undemanded = {**container, "runAsNonRoot": False}
    if any(isinstance(outcome(user, files, pod, undemanded, node), Stuck) for node in _JUDGES):
        return Advice("denied", "invalid-user")
    wish = {**pod, **container}
    fixes = [{"runAsUser": row.uid}]
    if "runAsGroup" not in wish and 0 <= row.gid <= INT31:
        fixes.append({"runAsUser": row.uid, "runAsGroup": row.gid})
    for cure in fixes:
        if all(
            outcome(user, files, pod, undemanded, node) == outcome(user, files, pod, {**undemanded, **cure}, node)
            for node in _JUDGES
        ):
            return Advice(
                *(("fixable", "named-user") if wish.get("runAsNonRoot") else ("compliant", "")), tuple(cure.items())
            )
    return Advice("denied", "identity-drift")


def unreadable(files: Files) -> bool:
    """Whether the runtimes cannot even read the image's passwd, which a numeric user does not save."""
    try:
        _passwd(files.passwd)
    except _Failed:
        return True
    return False
