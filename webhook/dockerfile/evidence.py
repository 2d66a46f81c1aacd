"""The number behind a name in USER, as far as the Dockerfile itself makes it evident.

A number is evident where a step gives it (`useradd -u 1000 app`), where a file written in the Dockerfile holds it, or
where a well-known base image has always had it. Anything else is None with the reason: without `-u` the tools take the
next free number of the base image, which differs from base to base and from day to day.
Sources: shadow-maint/shadow man/useradd.8.xml; Debian adduser(8); mirror/busybox loginutils/adduser.c.
"""

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from webhook import reference
from webhook.accounts import Entry, UnreadableAccounts, entries, parse_decimal
from webhook.dockerfile.shell import Command
from webhook.dockerfile.source import opened_heredoc
from webhook.dockerfile.stages import Stage
from webhook.dockerfile.step import Step
from webhook.errors import InvalidReference
from webhook.image import UID_MAX

PASSWD = "/etc/passwd"  # noqa: S105 - the file of accounts, not a secret


class Evidence(msgspec.Struct, frozen=True):
    """What is known of an account.

    `uid` is None where it is not evident, and `reason` says why, or from where it is known; `line` is the step that
    says it, 0 where none does. `gid` is the number of its first group where that is given.
    """

    uid: int | None
    reason: str
    line: int = 0
    gid: int | None = None


_ROOT = Evidence(0, "root is uid 0", gid=0)
_NOBODY = 65534
_KNOWN: dict[str, dict[str, int]] = {  # accounts with a number that the image's own build fixes
    "docker.io/library/alpine": {"nobody": _NOBODY},  # alpine/aports main/alpine-baselayout passwd
    "docker.io/library/debian": {"www-data": 33, "nobody": _NOBODY},  # base-passwd passwd.master
    "docker.io/library/nginx": {"nginx": 101},  # nginxinc/docker-nginx Dockerfile-debian.template
    "docker.io/library/node": {"node": 1000},  # nodejs/docker-node Dockerfile-debian.template
    "docker.io/library/ubuntu": {"www-data": 33, "nobody": _NOBODY},  # base-passwd passwd.master
    "docker.io/nginxinc/nginx-unprivileged": {"nginx": 101},  # nginxinc/docker-nginx-unprivileged
}
_KNOWN_PREFIXES: dict[str, dict[str, int]] = {
    "cgr.dev/chainguard/": {"nonroot": 65532},  # chainguard-images/images
    "gcr.io/distroless/": {"nonroot": 65532, "nobody": _NOBODY},  # GoogleContainerTools/distroless common/variables.bzl
    "mcr.microsoft.com/dotnet/": {"app": 1654},  # dotnet/dotnet-docker, since .NET 8
}

# The options that take a value, of shadow's, Debian's and BusyBox's tools together; usermod has -l besides.
_SHORT_VALUES = frozenset("bcdefghkKpsuGRPZ")
_LONG_VALUES = frozenset(
    {
        "base-dir",
        "btrfs-subvolume-home",
        "comment",
        "conf",
        "expiredate",
        "firstgid",
        "firstuid",
        "gecos",
        "gid",
        "groups",
        "home",
        "home-dir",
        "inactive",
        "ingroup",
        "key",
        "lastgid",
        "lastuid",
        "login",
        "password",
        "prefix",
        "root",
        "selinux-user",
        "shell",
        "skel",
        "uid",
    }
)
_CREATE = frozenset({"useradd", "adduser"})
_CREATE_GROUP = frozenset({"groupadd", "addgroup"})
_REMOVE = frozenset({"userdel", "deluser"})
_ACCOUNT = re.compile(r"[^\s#\"'`{}*?/<>|&;()]+\Z")
_ENTRY = re.compile(r"[A-Za-z_][\w.-]*:[^:\n]*:[^\n]*\Z")


def is_account_name(name: str) -> bool:
    """Whether an account could have that name at all: no spaces, quotes or shell marks."""
    return _ACCOUNT.match(name) is not None


def find_uid(name: str, target: int, stages: Sequence[Stage], steps: Mapping[int, tuple[Step, ...]]) -> Evidence:
    """What the file says of the account `name` in the stage `target`; `steps` are those of the stages that run."""
    if not name:
        return Evidence(None, "USER is no name")
    tables: dict[int, _Table] = {}
    numbers = {stage.name: stage.index for stage in stages if stage.name}

    def source(written: str) -> _Table | None:
        number = parse_decimal(written)
        return tables.get(numbers.get(written.lower(), -1) if number is None else number)

    for stage in stages:
        if stage.index in steps:
            table = tables[stage.parent].copy() if stage.parent is not None else _Table.of(stage.external)
            tables[stage.index] = table
            for step in steps[stage.index]:
                table.apply(step, source)
    return tables[target].find(name)


class _Table:
    """The accounts of a stage while its steps go by."""

    def __init__(self) -> None:
        self.users = {"root": _ROOT}
        self.groups: dict[str, int] = {"root": 0}
        self.files: dict[str, str] = {}  # what echo and heredocs wrote, where it could be a passwd
        self.origin = "it is no account that a step of this file creates"

    @classmethod
    def of(cls, image: str | None) -> "_Table":
        """The accounts that a well-known base image has."""
        table = cls()
        if image is None:
            table.origin = "no step creates it, and scratch has no accounts"
            return table
        try:
            name = reference.parse(image).name
        except InvalidReference:
            return table
        known = dict(_KNOWN.get(name, {}))
        for prefix, accounts in _KNOWN_PREFIXES.items():
            if name.startswith(prefix):
                known |= accounts
        table.users |= {user: Evidence(uid, f"{name} has it as uid {uid}") for user, uid in known.items()}
        table.origin = f"no step creates it, so that only the base image {image} can tell"
        return table

    def copy(self) -> "_Table":
        other = _Table()
        other.users, other.groups, other.files = dict(self.users), dict(self.groups), dict(self.files)
        other.origin = self.origin
        return other

    def find(self, name: str) -> Evidence:
        return self.users.get(name) or Evidence(None, self.origin)

    def apply(self, step: Step, source: Callable[[str], "_Table | None"]) -> None:
        """Take what one step does to the accounts."""
        if step.keyword == "RUN":
            for command in step.commands:
                self._run(command, step)
        elif step.keyword in ("COPY", "ADD"):
            self._copy(step, source)

    def _copy(self, step: Step, source: Callable[[str], "_Table | None"]) -> None:
        """COPY and ADD replace what they write."""
        destination, written = step.destination, step.instruction.flag("from")
        if destination is None:
            return
        other = None if written is None else source(written)
        documents = dict(step.documents)
        for path in filter(None, step.sources):
            opened = opened_heredoc(path)
            place = posixpath.normpath("/" + (opened[0] if opened else path).lstrip("/"))
            target = destination
            if destination.endswith("/") or destination == "/etc":
                target = f"{destination.rstrip('/')}/{posixpath.basename(place)}"
            content = documents.get(opened[0]) if opened else other.files.get(place) if other else None
            if place == destination == "/" and other is not None:
                self.users, self.groups, self.origin = dict(other.users), dict(other.groups), other.origin
            elif other is not None and place == PASSWD == target:
                self.users, self.origin = dict(other.users), other.origin
            elif content is not None:
                self.files.pop(target, None)
                if target == PASSWD:
                    self._forget(f"line {step.line} writes {PASSWD}, and it is not in there")
                self._write(target, content, step.line)
            elif target == PASSWD:
                whence = "the build context" if written is None else written
                self._forget(f"line {step.line} copies {PASSWD} from {whence}, which is not read here")

    def _forget(self, origin: str) -> None:
        """The file of accounts is another one now; root is root in any."""
        self.users, self.origin = {"root": _ROOT}, origin

    def _write(self, path: str, text: str, line: int) -> None:
        """A text that the Dockerfile itself holds is added to a file; it counts where it ends up as /etc/passwd."""
        self.files[path] = self.files.get(path, "") + text.rstrip("\n") + "\n"
        if path != PASSWD:
            return
        try:
            found = list(entries(text.encode("utf-8", "replace")))
        except UnreadableAccounts as error:
            self._forget(f"line {line}: {error}")
            return
        for entry in found:
            self._add(entry, line)

    def _add(self, entry: Entry, line: int) -> None:
        evident = parse_decimal(entry.uid_text) is not None and 0 <= entry.uid <= UID_MAX
        told = Evidence(entry.uid if evident else None, f"line {line} writes it into {PASSWD}", line, entry.gid)
        before = self.users.get(entry.name)
        if before is not None and before.uid != told.uid:
            told = Evidence(None, f"line {line} writes it into {PASSWD}, where it may stand already", line)
        self.users[entry.name] = told

    def _run(self, command: Command, step: Step) -> None:
        name, arguments = command.name, command.arguments
        if command.writes:
            self._written(command, step)
        if name in _CREATE:
            self._create(command)
        elif name in _CREATE_GROUP or name == "groupmod":
            options, operands = _options(arguments)
            gid = parse_decimal(options.get("gid", ""))
            if len(operands) == 1 and gid is not None:
                self.groups[operands[0]] = gid
        elif name == "usermod":
            self._modify(command)
        elif name in _REMOVE:
            for operand in _options(arguments)[1][:1]:
                self.users.pop(operand, None)

    def _written(self, command: Command, step: Step) -> None:
        """`echo app:x:1000:1000::/:/bin/sh >> /etc/passwd` and `cat <<EOF > /etc/passwd`."""
        heredocs = step.instruction.heredocs
        if command.name in ("echo", "printf"):
            parts = [part for word in command.arguments for part in re.split(r"\\n|\n", word)]
            text = "\n".join(filter(_ENTRY.match, parts))
        elif command.name in ("cat", "tee") and len(heredocs) == 1:
            text = heredocs[0].content
        else:
            return
        for path in command.writes:
            place = step.absolute(path)
            if place is not None and text:
                self._write(place, text, command.line)

    def _create(self, command: Command) -> None:
        options, operands = _options(command.arguments)
        if not operands or (command.name == "adduser" and len(operands) > 1):
            return  # `adduser app group` makes no account
        name = operands[-1]
        if "$" in name:
            return
        group = options.get("gid", options.get("ingroup", ""))
        gid = parse_decimal(group)
        gid = self.groups.get(group) if gid is None else gid
        self.users[name] = self._told(command, options.get("uid"), gid)

    def _modify(self, command: Command) -> None:
        options, operands = _options(command.arguments, _SHORT_VALUES | {"l"})
        if len(operands) != 1:
            return
        name = operands[0]
        if "uid" in options:
            self.users[name] = self._told(command, options["uid"], self.users.get(name, Evidence(None, "")).gid)
        renamed = options.get("login")
        if renamed:
            before = self.users.pop(name, None)
            self.users[renamed] = before or Evidence(None, f"line {command.line} renames {name} to it", command.line)

    @staticmethod
    def _told(command: Command, uid: str | None, gid: int | None) -> Evidence:
        where = f"line {command.line} ({command.name})"
        if uid is None:
            reason = f"{where} gives no number, so that it is the next free one of the base image"
            return Evidence(None, reason, command.line, gid)
        number = parse_decimal(uid)
        if number is None or not 0 <= number <= UID_MAX:
            return Evidence(None, f"{where} takes the uid from {uid[:80]}, which is not known here", command.line, gid)
        return Evidence(number, f"{where} gives it uid {number}", command.line, gid)


_LONG_NAMES = {"u": "uid", "g": "gid", "G": "ingroup", "l": "login"}


def _options(
    arguments: Sequence[str], short_values: frozenset[str] = _SHORT_VALUES
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Options by their long name, and operands."""
    options: dict[str, str] = {}
    operands: list[str] = []
    waiting = ""
    for index, argument in enumerate(arguments):
        if waiting:
            options[waiting], waiting = argument, ""
        elif argument == "--":
            operands.extend(arguments[index + 1 :])
            break
        elif argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            if equals:
                options[name] = value
            elif name in _LONG_VALUES:
                waiting = name
        elif argument.startswith("-") and len(argument) > 1:
            place = next((place for place, letter in enumerate(argument) if letter in short_values), 0)
            if place:
                name = _LONG_NAMES.get(argument[place], argument[place])
                if argument[place + 1 :]:
                    options[name] = argument[place + 1 :]
                else:
                    waiting = name
        else:
            operands.append(argument)
    return options, tuple(operands)
