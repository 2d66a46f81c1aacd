"""Package managers as RUN calls them."""

import pytest

from webhook.dockerfile.analysis.package_managers import package_manager
from webhook.dockerfile.shell.commands import Command


@pytest.mark.parametrize(
    ("line", "name", "call"),
    [
        ("apt-get -y -o Acquire::Retries=3 install curl wget", "apt", ("install", "curl", "wget")),
        ("/usr/bin/aptitude install curl", "apt", ("install", "curl")),
        ("apk add --no-cache curl", "apk", ("add", "--no-cache", "curl")),
        ("microdnf -y install curl", "dnf", ("install", "curl")),
        ("yum clean all", "dnf", ("clean", "all")),
        ("pacman -S curl", "pacman", ("-S", "curl")),
        ("apt-get --version", "apt", ()),
    ],
)
def test_a_call_begins_at_its_verb(line: str, name: str, call: tuple[str, ...]) -> None:
    command = Command(tuple(line.split()), 1)
    manager = package_manager(command)
    assert manager is not None
    assert (manager.name, manager.call(command)) == (name, call)


def test_other_programs_are_none() -> None:
    assert package_manager(Command(("pip", "install", "x"), 1)) is None
