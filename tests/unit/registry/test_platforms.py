"""An index's entries are chosen as containerd chooses them."""

import pytest

from webhook.image.config import Platform, normalise_platform
from webhook.registry.manifest import Descriptor
from webhook.registry.platforms import choose, runs

ANY: frozenset[str] = frozenset()


def entry(platform: str | None, number: int = 0, os_version: str = "") -> Descriptor:
    """An index's entry for `os/architecture[/variant]`."""
    digest = f"sha256:{number:064}"
    if platform is None:
        return Descriptor("x", digest, 1)
    os, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    return Descriptor("x", digest, 1, normalise_platform(os, architecture, variant), os_version)


def chosen(platforms: list[str | None], os: str = "linux", *architectures: str) -> list[str]:
    """The platforms that are looked at, the undecided ones as "?"."""
    entries = [entry(platform, number) for number, platform in enumerate(platforms)]
    choice = choose(entries, os, frozenset(architectures))
    return [str(each.platform) for each in choice.chosen] + ["?" for _ in choice.undecided]


def test_every_platform_is_looked_at_unless_nodes_are_known() -> None:
    """Attestations and other systems are not."""
    platforms: list[str | None] = [
        "linux/amd64",
        "windows/amd64",
        "linux/arm64",
        "unknown/unknown",
        "linux/unknown",
        "linux/",
    ]
    assert chosen(platforms) == ["linux/amd64", "linux/arm64"]
    assert chosen(platforms, "windows") == ["windows/amd64"]


def test_the_first_of_equal_entries_counts() -> None:
    """The order in the index decides, and a default variant is no variant."""
    entries = [entry("linux/arm64/v8", 1), entry("linux/arm64", 2)]
    assert choose(entries, "linux", ANY).chosen == (entries[0],)
    assert choose(entries, "linux", frozenset({"arm64"})).chosen == (entries[0],)


def test_windows_versions_are_told_apart() -> None:
    """Each may have another user."""
    entries = [entry("windows/amd64", 1, "10.0.1"), entry("windows/amd64", 2, "10.0.2")]
    assert choose(entries, "windows", ANY).chosen == tuple(entries)


@pytest.mark.parametrize(
    ("architecture", "platforms", "expected"),
    [
        ("amd64", ["linux/arm64", "linux/amd64"], ["linux/amd64"]),
        ("amd64", ["linux/386"], ["linux/386"]),
        ("amd64", ["linux/386", "linux/amd64"], ["linux/amd64"]),
        ("amd64", ["linux/amd64", "linux/amd64/v3"], ["linux/amd64", "linux/amd64/v3"]),
        ("amd64", ["linux/amd64/v3"], ["linux/amd64/v3"]),
        ("amd64", ["linux/arm64"], []),
        ("arm64", ["linux/arm/v7", "linux/arm/v6"], ["linux/arm/v7"]),
        ("arm64", ["linux/arm64", "linux/arm/v7"], ["linux/arm64"]),
        ("arm64", ["linux/arm64", "linux/arm64/v9"], ["linux/arm64", "linux/arm64/v9"]),
        ("arm", ["linux/arm/v5", "linux/arm/v7"], ["linux/arm/v7", "linux/arm/v5"]),
        ("arm", ["linux/arm"], ["linux/arm/v7"]),
        ("386", ["linux/amd64", "linux/386"], ["linux/386"]),
        ("riscv64", ["linux/riscv64"], ["linux/riscv64"]),
        ("ppc64le", ["linux/ppc64"], []),
    ],
)
def test_nodes_of_an_architecture_choose(architecture: str, platforms: list[str | None], expected: list[str]) -> None:
    """Every entry that some variant of it would prefer."""
    assert chosen(platforms, "linux", architecture) == expected


def test_entries_without_a_platform_come_last() -> None:
    """They count where nothing else matches; with every node they always may."""
    assert chosen([None, "linux/amd64"]) == ["linux/amd64", "?"]
    assert chosen([None, "linux/amd64"], "linux", "amd64") == ["linux/amd64"]
    assert chosen([None, "linux/amd64"], "linux", "arm64") == ["?"]


def test_an_empty_os_is_the_nodes_own() -> None:
    """As containerd's matcher has it."""
    assert chosen(["/amd64"]) == ["amd64"]


def test_a_config_decides_for_an_undecided_entry() -> None:
    """By the same vectors."""
    assert runs(Platform("linux", "arm", "v6"), "linux", frozenset({"arm64"}))
    assert runs(Platform("linux", "amd64", "v3"), "linux", frozenset({"amd64"}))
    assert runs(Platform("linux", "386"), "linux", ANY)
    assert not runs(Platform("windows", "amd64"), "linux", ANY)
    assert not runs(Platform("linux", "s390x"), "linux", frozenset({"amd64", "arm64"}))
