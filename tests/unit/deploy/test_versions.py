"""Which Kubernetes and which containerd a cluster is of."""

import pytest

from deploy.local import build
from deploy.local.errors import ClusterError

KINDS: dict[str, dict[str, str]] = {"KUBERNETES": build.KUBERNETES, "CONTAINERD": build.CONTAINERD}


@pytest.mark.parametrize("variable", KINDS)
@pytest.mark.parametrize("wish", [None, ""])
def test_without_a_wish_it_is_the_newest(variable: str, wish: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable, raising=False)
    if wish is not None:
        monkeypatch.setenv(variable, wish)
    newest = max(KINDS[variable], key=lambda minor: [int(number) for number in minor.split(".")])
    assert build.asked(variable, KINDS[variable]) == newest


@pytest.mark.parametrize("wish", ["1.29", "v1.35", "1.36.3", "1.3"])
def test_what_cannot_be_built_is_refused_with_what_can(wish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES", wish)
    with pytest.raises(ClusterError, match=f"KUBERNETES={wish}: only 1.36, 1.35, .*1.30 can be built here"):
        build.asked("KUBERNETES", build.KUBERNETES)


def test_every_version_is_of_its_minor_version_and_has_a_folder_of_its_own() -> None:
    tools = {minor: build.kubernetes(minor) for minor in build.KUBERNETES}
    runtimes = {minor: build.containerd(minor) for minor in build.CONTAINERD}
    for minor, tool in [*tools.items(), *runtimes.items()]:
        assert tool.version.startswith(f"v{minor}.")
    assert len({tool.folder for tool in [*tools.values(), *runtimes.values()]}) == len(tools) + len(runtimes)
