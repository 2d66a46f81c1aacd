"""A suggestion of the uid that a root image is made for, with its evidence; none where that is uncertain.

Evidence is, in this order: the start script steps down to an account; an account owns a declared volume; an account
owns the working directory, and no port is exposed that root opens. Apache httpd's WORKDIR is its workers', and what its master
writes there is root's. Where two pieces name different uids there is no suggestion.
"""

from collections.abc import Iterable

from webhook.image import passwd
from webhook.image.config import UID_MAX, Config
from webhook.image.filesystem import Directory, StepDown, Suggestion, Survey
from webhook.image.golang import parse_decimal
from webhook.image.passwd import AccountFiles, Entry, UnreadableAccounts
from webhook.image.source import PlatformImage

LOW_PORT = 1024


def low_ports(config: Config) -> tuple[str, ...]:
    """The exposed ports below 1024, which a non-root process cannot open everywhere."""
    numbers = ((port, parse_decimal(port.partition("/")[0])) for port in config.exposed_ports)
    return tuple(port for port, number in numbers if number is not None and 0 < number < LOW_PORT)


def suggest(image: PlatformImage) -> Suggestion | None:
    """The suggestion for a Linux image whose USER is root's; None for any other, and where the layers were not read."""
    survey, accounts, user = image.survey, image.accounts, image.config.user
    if isinstance(survey, Survey) and survey.suggestion is not None:
        return survey.suggestion  # as somebody has read it who had the accounts, too
    if not isinstance(survey, Survey) or not isinstance(accounts, AccountFiles) or image.platform.os == "windows":
        return None
    try:
        named = passwd.by_name(accounts, user.name) if user.name else None
        if user.uid or (user.name and (named is None or named.uid != 0)):
            return None
        return _suggest(image.config, accounts, survey)
    except UnreadableAccounts:
        return None


def _suggest(config: Config, accounts: AccountFiles, survey: Survey) -> Suggestion | None:
    volumes = [each for each in survey.directories if each.role == "volume" and each.present]
    steps = [(each, entry) for each in survey.steps_down if (entry := _account(each, accounts)) is not None]
    if len(steps) != len(survey.steps_down):
        return None  # somebody is named who is root, or nobody
    owned = [each for each in volumes if each.uid]
    working = [each for each in survey.directories if each.role == "workingDirectory" and each.present and each.uid]
    ports = low_ports(config)
    if steps:
        entries = [entry for _, entry in steps]
    else:
        entries = [
            entry
            for each in owned or ([] if ports else working)
            if (entry := passwd.by_uid(accounts, each.uid)) is not None
        ]
    if len({entry.uid for entry in entries}) != 1 or any(each.uid != entries[0].uid for each in owned):
        return None
    entry = entries[0]
    if not _usable(entry):
        return None
    evidence = [f"{entry.name} is uid {entry.uid} in /etc/passwd"]
    mine = [each.path for each in (*owned, *working) if each.uid == entry.uid]
    if mine:
        evidence.append(f"owns {' and '.join(dict.fromkeys(mine))}")
    if steps:
        evidence.append(f"{steps[0][0].script.rpartition('/')[2]} steps down to it by {steps[0][0].tool}")
    if ports:
        evidence.append(f"but port {', '.join(ports)} needs net.ipv4.ip_unprivileged_port_start 0")
    sure = bool(steps) and not ports and all(_writable(each, entry) for each in volumes)
    group = entry.gid if config.volumes else None
    return Suggestion(entry.uid, entry.gid, group, "high" if sure else "medium", tuple(evidence))


def _account(step: StepDown, accounts: AccountFiles) -> Entry | None:
    number = parse_decimal(step.user)
    entry = passwd.by_name(accounts, step.user) if number is None else passwd.by_uid(accounts, number)
    return entry if entry is not None and _usable(entry) else None


def _usable(entry: Entry) -> bool:
    return 0 < entry.uid <= UID_MAX and 0 <= entry.gid <= UID_MAX and entry.name.isprintable()


def _writable(directory: Directory, entry: Entry) -> bool:
    return directory.writable(entry.uid, (entry.gid,))


def first(images: Iterable[PlatformImage]) -> Suggestion | None:
    """The one suggestion of all platforms of an image; None where they do not agree on the numbers."""
    found = [suggest(each) for each in images]
    if not found or any(each is None for each in found):
        return None
    numbers = {(each.uid, each.gid) for each in found if each is not None}
    return found[0] if len(numbers) == 1 else None
