"""An image's own /etc/passwd and /etc/group, read exactly as the container runtimes read them.

No NSS, no comments in passwd, the first match wins, and a number that does not parse is 0, which is root.
Sources: moby/sys user/user.go (ParsePasswdFilter, ParseGroupFilter, parseParts); containerd/containerd
pkg/oci/spec_opts.go (WithUserID, WithUsername, WithAppendAdditionalGroups).
"""

from collections.abc import Iterator

import msgspec

from webhook.image.golang import _INT64_MAX, _UINT64_MAX, SPACE, overflows, parse_decimal

PASSWD_LINE_LIMIT = 64 * 1024  # bufio.MaxScanTokenSize: one such line makes every look-up fail
GROUP_LINE_LIMIT = 1024 * 1024  # moby/sys user v0.4.1; v0.4.0 has none, so the stricter one decides


class AccountFiles(msgspec.Struct, frozen=True, gc=False):
    """The two files; None where the image has none. `group_read` is false where /etc/group was not looked for."""

    passwd: bytes | None = None
    group: bytes | None = None
    group_read: bool = True


class ResolvedIds(msgspec.Struct, frozen=True, gc=False):
    """The numbers that the files give the image's USER, from a source that has read them before; None where it does not know one.

    `groups` are sorted, the primary one among them.
    """

    uid: int
    gid: int | None = None
    groups: tuple[int, ...] | None = None


class Entry(msgspec.Struct, frozen=True):
    """A passwd line. `uid` and `gid` are what Go's Atoi makes of the fields: 0 for garbage, int64 edges on overflow."""

    name: str
    uid: int
    gid: int
    home: str
    line: int
    uid_text: str


class Group(msgspec.Struct, frozen=True):
    """A group line."""

    name: str
    gid: int
    members: tuple[str, ...]


class UnreadableAccounts(Exception):
    """The runtimes' own scanner would fail on the file, for names and numbers alike."""


def entries(passwd: bytes | None) -> Iterator[Entry]:
    """Every passwd line in order; raises `UnreadableAccounts` first where one line is longer than the scanner takes."""
    for number, line in _lines(passwd, PASSWD_LINE_LIMIT, "/etc/passwd"):
        fields = line.split(":")
        fields += [""] * (7 - len(fields))
        yield Entry(fields[0], _atoi(fields[2]), _atoi(fields[3]), fields[5], number, fields[2])


def groups(group: bytes | None) -> Iterator[Group]:
    """Every group line in order; lines that begin with `#` are skipped, unlike in passwd."""
    for _, line in _lines(group, GROUP_LINE_LIMIT, "/etc/group"):
        if line.startswith("#"):
            continue
        fields = line.split(":")
        fields += [""] * (4 - len(fields))
        yield Group(fields[0], _atoi(fields[2]), tuple(fields[3].split(",")) if fields[3] else ())


def by_name(accounts: AccountFiles, name: str) -> Entry | None:
    """The first line with exactly that name, however broken its other fields are."""
    return next((entry for entry in entries(accounts.passwd) if entry.name == name), None)


def by_uid(accounts: AccountFiles, uid: int) -> Entry | None:
    """The first line whose uid field parses to `uid`."""
    return next((entry for entry in entries(accounts.passwd) if entry.uid == uid), None)


def supplementary(accounts: AccountFiles, name: str) -> frozenset[int]:
    """The gids of the groups that list `name`, less a group of that very name, as containerd adds them."""
    return frozenset(group.gid for group in groups(accounts.group) if group.name != name and name in group.members)


def _lines(data: bytes | None, limit: int, path: str) -> Iterator[tuple[int, str]]:
    raw = (data or b"").split(b"\n")
    if any(len(line) >= limit for line in raw):
        raise UnreadableAccounts(f"{path} has a line longer than {limit // 1024} KiB, at which the runtimes give up")
    for number, line in enumerate(raw, start=1):
        text = line.decode("utf-8", "surrogateescape").strip(SPACE)
        if text:
            yield number, text


def _atoi(text: str) -> int:
    """Go's strconv.Atoi with its error ignored: 0 for what is no number, the nearest int64 for what is too large."""
    number = parse_decimal(text)
    if number is None and overflows(text):
        number = -_UINT64_MAX if text.startswith("-") else _UINT64_MAX
    return 0 if number is None else max(-_INT64_MAX - 1, min(_INT64_MAX, number))
