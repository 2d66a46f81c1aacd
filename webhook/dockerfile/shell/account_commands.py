"""The command lines of useradd, adduser, usermod, groupadd, addgroup and their like.

Sources: shadow-maint/shadow man/useradd.8.xml and usermod.8.xml; Debian adduser(8); mirror/busybox
loginutils/adduser.c.
"""

from webhook.dockerfile.shell.commands import Command

# The options that take a value, of all of them together: no letter is an option with a value here and a switch there,
# but for -l, which only usermod gives a value.
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
_LONG_NAMES = {"u": "uid", "g": "gid", "l": "login"}


def read_options(command: Command) -> tuple[dict[str, str], tuple[str, ...]]:
    """The options that have a value, by their long name where we ask for them, and the operands."""
    short_values = _SHORT_VALUES | {"l"} if command.name == "usermod" else _SHORT_VALUES
    arguments = command.arguments
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
