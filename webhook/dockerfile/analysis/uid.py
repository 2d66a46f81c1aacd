"""The number behind a name in USER, as far as the Dockerfile itself makes it evident.

A number is evident where a step gives it (`useradd -u 1000 app`), where a file written in the Dockerfile holds it, or
where a well-known base image has always had it. Anything else is None with the reason: without `-u` the tools take the
next free number of the base image, which differs from base to base and from day to day.
Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert_copy.go (COPY replaces what it writes).
"""

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from webhook.dockerfile.analysis.known_accounts import known_accounts
from webhook.dockerfile.parser.lines import opened_heredoc
from webhook.dockerfile.shell.account_commands import read_options
from webhook.dockerfile.shell.commands import Command
from webhook.dockerfile.stages.plan import Stage
from webhook.dockerfile.stages.state import Base
from webhook.dockerfile.stages.step import Step
from webhook.image.config import UID_MAX
from webhook.image.golang import parse_decimal
from webhook.image.passwd import AccountFiles, Entry, UnreadableAccounts, entries, groups
from webhook.text import quoted

PASSWD = "/etc/passwd"  # noqa: S105 - the file of accounts, not a secret


class ResolvedUid(msgspec.Struct, frozen=True):
    """The uid and group of an account, as far as they are known.

    `uid` is None where it is not evident, and `reason` says why, or from where it is known; `line` is the step that
    says it, 0 where none does. `gid` is the number of the group in USER, None where that is not evident either.
    `word` is what stands for the uid in that step where it follows a variable, such as `${uid}`, "" where that is no
    single word, None where the number itself stands there; `group_word` is the same of the gid.
    """

    uid: int | None
    reason: str
    line: int = 0
    gid: int | None = None
    word: str | None = None
    group_word: str | None = None


_ROOT = ResolvedUid(0, "root is uid 0")
_GROUP = "/etc/group"
_CREATE = frozenset({"useradd", "adduser"})
_CREATE_GROUP = frozenset({"groupadd", "addgroup"})
_REMOVE = frozenset({"userdel", "deluser"})
_ACCOUNT = re.compile(r"[^\s#\"'`{}*?/<>|&;()]+\Z")
_ENTRY = re.compile(r"[A-Za-z_][\w.-]*:[^:\n]*:[^\n]*\Z")


def is_account_name(name: str) -> bool:
    """Whether an account could have that name at all: no spaces, quotes or shell marks."""
    return _ACCOUNT.match(name) is not None


def find_uid(
    name: str,
    group: str,
    target: int,
    stages: Sequence[Stage],
    steps: Mapping[int, tuple[Step, ...]],
    bases: Mapping[str, Base],
) -> ResolvedUid:
    """The uid and group of an account that USER names, as the file makes it in the stage `target`.

    `steps` are those of the stages that run, by stage; `bases` are the external images that were read, by their names.
    """
    if not name:
        return ResolvedUid(None, "USER is no name")
    tables: dict[int, _Table] = {}
    numbers = {stage.name: stage.index for stage in stages if stage.name}

    def source(written: str) -> _Table | None:
        number = parse_decimal(written)
        return tables.get(numbers.get(written.lower(), -1) if number is None else number)

    for stage in stages:
        if stage.index in steps:
            table = tables[stage.parent].copy() if stage.parent is not None else _Table.of(stage.external, bases)
            tables[stage.index] = table
            for step in steps[stage.index]:
                table.apply(step, source)
    gid, group_word = tables[target].groups.get(group, (None, None))
    return msgspec.structs.replace(tables[target].find(name), gid=gid, group_word=group_word)


class _Table:
    """The accounts of a stage while its steps go by."""

    def __init__(self) -> None:
        self.users = {"root": _ROOT}
        self.groups: dict[str, tuple[int, str | None]] = {"root": (0, None)}  # number and word, as in Evidence
        self.files: dict[str, str] = {}  # what echo and heredocs wrote, where it could be a passwd
        self.origin = "it is no account that a step of this file creates"

    @classmethod
    def of(cls, image: str | None, bases: Mapping[str, Base]) -> "_Table":
        """The accounts of a base image: its own files where they were read, else what is well known of it."""
        table = cls()
        if image is None:
            table.origin = "no step creates it, and scratch has no accounts"
            return table
        accounts = bases[image].accounts if image in bases else None
        if accounts is not None:
            table.origin = f"no step creates it, and {image} has no such account"
            table._read(image, accounts)
            return table
        table.users |= {
            name: ResolvedUid(uid, f"{image} has it as uid {uid}") for name, uid in known_accounts(image).items()
        }
        table.origin = f"no step creates it, so that only the base image {image} can tell"
        return table

    def _read(self, image: str, accounts: AccountFiles) -> None:
        """The image's own passwd and group, in which the first line of a name counts."""
        try:
            for entry in entries(accounts.passwd):
                evident = parse_decimal(entry.uid_text) is not None and 0 <= entry.uid <= UID_MAX
                known = ResolvedUid(
                    entry.uid if evident else None, f"the {PASSWD} of {image} gives it uid {entry.uid_text}"
                )
                if entry.name != "root":
                    self.users.setdefault(entry.name, known)
            for group in groups(accounts.group):
                self.groups.setdefault(group.name, (group.gid, None))
        except UnreadableAccounts as error:
            self._forget(f"{image}: {error}")

    def copy(self) -> "_Table":
        other = _Table()
        other.users, other.groups, other.files = dict(self.users), dict(self.groups), dict(self.files)
        other.origin = self.origin
        return other

    def find(self, name: str) -> ResolvedUid:
        return self.users.get(name) or ResolvedUid(None, self.origin)

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
                raw = next(
                    (each.content for each in step.instruction.heredocs if opened and each.name == opened[0]), ""
                )
                self._write(target, content, step.line, "" if "$" in raw else None)
            elif target == _GROUP:
                self.groups = dict(other.groups) if other is not None and place == _GROUP else {}
            elif target == PASSWD:
                whence = "the build context" if written is None else written
                self._forget(f"line {step.line} copies {PASSWD} from {quoted(whence)}, which is not read here")

    def _forget(self, origin: str) -> None:
        """The file of accounts is another one now; root is root in any."""
        self.users, self.origin = {"root": _ROOT}, origin

    def _write(self, path: str, text: str, line: int, word: str | None) -> None:
        """A text that the Dockerfile itself holds is added to a file; it counts where it ends up as /etc/passwd.

        `word` is as in `ResolvedUid`.
        """
        self.files[path] = self.files.get(path, "") + text.rstrip("\n") + "\n"
        if path != PASSWD:
            return
        try:
            found = list(entries(text.encode("utf-8", "replace")))
        except UnreadableAccounts as error:
            self._forget(f"line {line}: {error}")
            return
        for entry in found:
            self._add(entry, line, word)

    def _add(self, entry: Entry, line: int, word: str | None) -> None:
        evident = parse_decimal(entry.uid_text) is not None and 0 <= entry.uid <= UID_MAX
        resolved = ResolvedUid(entry.uid if evident else None, f"line {line} writes it into {PASSWD}", line, word=word)
        before = self.users.get(entry.name)
        if before is not None and before.uid != resolved.uid:
            resolved = ResolvedUid(None, f"line {line} writes it into {PASSWD}, where it may stand already", line)
        self.users[entry.name] = resolved

    def _run(self, command: Command, step: Step) -> None:
        name = command.name
        if command.writes:
            self._written(command, step)
        if name in _CREATE:
            self._create(command)
        elif name in _CREATE_GROUP or name == "groupmod":
            options, operands = read_options(command)
            gid = parse_decimal(options.get("gid", ""))
            if len(operands) == 1 and gid is not None:
                self.groups[operands[0]] = gid, _word(command, "gid")
        elif name == "usermod":
            self._modify(command)
        elif name in _REMOVE:
            for operand in read_options(command)[1][:1]:
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
                self._write(place, text, command.line, "" if command.templates or "$" in text else None)

    def _create(self, command: Command) -> None:
        options, operands = read_options(command)
        if not operands or (command.name == "adduser" and len(operands) > 1):
            return  # `adduser app group` makes no account
        name = operands[-1]
        if "$" in name:
            return
        self.users[name] = self._resolved(command, options.get("uid"))

    def _modify(self, command: Command) -> None:
        options, operands = read_options(command)
        if len(operands) != 1:
            return
        name = operands[0]
        if "uid" in options:
            self.users[name] = self._resolved(command, options["uid"])
        renamed = options.get("login")
        if renamed:
            before = self.users.pop(name, None)
            self.users[renamed] = before or ResolvedUid(
                None, f"line {command.line} renames another account to it", command.line
            )

    @staticmethod
    def _resolved(command: Command, uid: str | None) -> ResolvedUid:
        where = f"line {command.line} ({command.name})"
        if uid is None:
            reason = f"{where} gives no number, so that it is the next free one of the base image"
            return ResolvedUid(None, reason, command.line)
        number = parse_decimal(uid)
        if number is None or not 0 <= number <= UID_MAX:
            return ResolvedUid(
                None, f"{where} takes the uid from {quoted(uid, 80)}, which is not known here", command.line
            )
        return ResolvedUid(number, f"{where} gives it uid {number}", command.line, word=_word(command, "uid"))


def _word(command: Command, option: str) -> str | None:
    """The word of an option's value before variables are replaced; as in `ResolvedUid`."""
    if not command.templates:
        return None
    word = read_options(msgspec.structs.replace(command, words=command.templates))[0].get(option, "")
    return word if "$" in word or not word else None
