"""The start of an image's container: the words of its command line, and the user that its start script changes to.

A root image that is made to run as somebody starts a script as root, which gives itself the volume and goes on as that
user: `exec gosu redis "$0" "$@"`. Started as that user at once, it does neither and runs just so.
"""

import re
from collections.abc import Mapping, Sequence

from webhook.image.config import Config
from webhook.image.filesystem import StepDown

STEP_DOWN_TOOLS = frozenset({"gosu", "su-exec", "setpriv", "runuser", "sudo", "su", "chroot"})

_USER = r"""["']?(?P<user>[A-Za-z_][A-Za-z0-9_.-]*|[1-9][0-9]{0,9})(?::[A-Za-z0-9_.-]+)?["']?"""
_STEPS = (
    re.compile(rf"\b(?P<tool>gosu|su-exec)\s+{_USER}(?=\s|\Z)"),
    re.compile(rf"\b(?P<tool>setpriv)\s(?:[^\n|;&]*\s)?--reuid[= ]{_USER}(?=\s|\Z)"),
    re.compile(rf"\b(?P<tool>runuser)\s(?:[^\n|;&]*\s)?-u\s+{_USER}(?=\s|\Z)"),
)
_COMMENT = re.compile(r"(?m)^\s*#.*$")


def words(config: Config, command: Sequence[str] | None = None, args: Sequence[str] | None = None) -> tuple[str, ...]:
    """The command line of the container: `command` replaces the image's entrypoint and CMD, `args` its CMD alone.

    Source: kubernetes.io docs/tasks/inject-data-application/define-command-argument-container (four cases).
    """
    if command:
        return (*command, *(args or ()))
    return (*config.entrypoint, *(args or config.command))


def programs(line: Sequence[str]) -> frozenset[str]:
    """The base names of what a command line may execute: its words, and those of a shell's `-c` text."""
    return frozenset(part.rpartition("/")[2] for word in line for part in word.split())


def steps_down(config: Config, scripts: Mapping[str, str]) -> tuple[StepDown, ...]:
    """The users that the image's own start script changes to, each once; `scripts` are the texts of start scripts by path.

    A user that is a variable is nobody's to tell, and left out.
    """
    started = programs(words(config))
    found: dict[StepDown, None] = {}
    for path, text in scripts.items():
        if path.rpartition("/")[2] not in started:
            continue
        plain = _COMMENT.sub("", text)
        for pattern in _STEPS:
            for match in pattern.finditer(plain):
                found[StepDown(path, match["tool"], match["user"])] = None
    return tuple(found)
