"""The distributions' package managers, as a RUN step calls them.

Sources: apt-get(8), apk(8), dnf(8), zypper(8), pacman(8).
"""

import msgspec

from webhook.dockerfile.shell.commands import Command


class PackageManager(msgspec.Struct, frozen=True):
    """A package manager and what its verbs do. Those of `installs` and `changes` need root.

    `cleaning` removes the lists that it has fetched; empty where that is not known here.
    """

    name: str
    installs: frozenset[str]
    changes: frozenset[str]
    others: frozenset[str] = frozenset()
    cleaning: str = ""

    def call(self, command: Command) -> tuple[str, ...]:
        """The arguments from the verb on; before it stand options and their values. Empty where there is no verb."""
        verbs = self.installs | self.changes | self.others
        first = next((index for index, word in enumerate(command.arguments) if word in verbs), len(command.arguments))
        return command.arguments[first:]


_APT = PackageManager(
    "apt",
    frozenset({"install"}),
    frozenset({"update", "upgrade", "remove", "purge", "autoremove", "dist-upgrade", "full-upgrade"}),
    frozenset({"clean"}),
    "rm -rf /var/lib/apt/lists/*",
)
_APK = PackageManager("apk", frozenset({"add"}), frozenset({"del", "update", "upgrade"}), cleaning="apk add --no-cache")
_DNF = PackageManager(
    "dnf",
    frozenset({"install", "groupinstall"}),
    frozenset({"update", "upgrade", "remove", "module", "autoremove"}),
    frozenset({"clean", "makecache"}),
    "dnf clean all",
)
_ZYPPER = PackageManager("zypper", frozenset({"install", "in"}), frozenset({"update", "up", "remove", "refresh"}))
_PACMAN = PackageManager("pacman", frozenset({"-S", "-Sy", "-Syu"}), frozenset({"-R"}))
_BY_PROGRAM = {
    **dict.fromkeys(("apt", "apt-get", "aptitude"), _APT),
    "apk": _APK,
    **dict.fromkeys(("dnf", "yum", "microdnf", "tdnf"), _DNF),
    "zypper": _ZYPPER,
    "pacman": _PACMAN,
}


def package_manager(command: Command) -> PackageManager | None:
    """The package manager that a command runs, if it is one."""
    return _BY_PROGRAM.get(command.name)
