"""The rehearsal of a release: what stands in for GitHub's actions, and what the kernel is told and asked to forget."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.dev.images.build import NATIVE
from deploy.local import apt
from deploy.local.errors import ClusterError
from deploy.rehearsal import emulation, job, signing, users
from deploy.rehearsal.workflow import RELEASE, Runner

FOREIGN = next(name for name in emulation.MACHINES if name != NATIVE)
ENTRY = f"qemu-{emulation.MACHINES[FOREIGN]}"
RULE = ":rule:OPF"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders that look like binfmt_misc's and Debian's."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / f"{ENTRY}.conf").write_text(f"{RULE}\n")
    (tmp_path / "kernel").mkdir()
    monkeypatch.setattr(emulation, "KERNEL", tmp_path / "kernel")
    monkeypatch.setattr(emulation, "RULES", tmp_path / "rules")
    monkeypatch.setattr(apt, "install", lambda *_: [])
    return tmp_path / "kernel"


def test_what_was_registered_is_taken_back(kernel: Path) -> None:
    """The kernel forgets an entry when -1 is written to it."""
    with emulation.of(FOREIGN):
        assert (kernel / "register").read_text() == RULE
    assert (kernel / ENTRY).read_text() == "-1"


def test_what_somebody_else_registered_stays(kernel: Path) -> None:
    (kernel / ENTRY).write_text("enabled\nflags: POF\n")
    with emulation.of(FOREIGN):
        pass
    assert (kernel / ENTRY).read_text() == "enabled\nflags: POF\n"
    assert not (kernel / "register").exists()


def test_an_entry_that_containers_do_not_find_is_told_of(kernel: Path) -> None:
    (kernel / ENTRY).write_text("enabled\nflags: PO\n")
    with pytest.raises(ClusterError, match=f"without the flag F.*echo -1 >{kernel / ENTRY}"), emulation.of(FOREIGN):
        pass


def test_a_kernel_that_takes_nothing_is_told_of_with_the_package(kernel: Path) -> None:
    (kernel / "register").mkdir()
    with pytest.raises(ClusterError, match="apt-get install qemu-user-static"), emulation.of(FOREIGN):
        pass


def test_this_machines_own_programs_need_nothing(kernel: Path) -> None:
    with emulation.of(NATIVE):
        assert list(kernel.iterdir()) == []


def test_each_action_has_its_stand_in_or_is_left_to_github(tmp_path: Path) -> None:
    runner = Runner(tmp_path, {}, {})
    used = {step["uses"].partition("@")[0] for step in runner.steps if "uses" in step}
    assert used == job._Job(runner, tmp_path, ExitStack(), print)._stand_ins.keys() | job.ONLY_GITHUB


def test_an_expression_has_a_value_or_is_an_error(tmp_path: Path) -> None:
    runner = Runner(tmp_path, {}, {"env.IMAGE": "ghcr.io/o/r"})
    assert runner.expand("${{ env.IMAGE }}:1") == "ghcr.io/o/r:1"
    with pytest.raises(ClusterError, match=r"release.yml reads steps.imaeg.outputs.digest"):
        runner.expand("${{ steps.imaeg.outputs.digest }}")


def test_the_page_for_users_names_the_workflow_that_signs() -> None:
    """In the identity that the documented lines ask for, before the ref that it ran for."""
    page = users.PAGE.read_text()
    assert f"/.github/workflows/{RELEASE.name}\n" in page
    assert '"^$workflow@"' in page
    assert [line.split()[1] for line in users.documented("cosign")] == ["verify", "verify", "verify-attestation"]
    assert len(list(users.documented("helm"))) == 1


def test_the_workflow_installs_the_cosign_that_is_rehearsed(tmp_path: Path) -> None:
    """By an installer that can: before its version 4 it looks for signatures that cosign 3 does not publish."""
    (step,) = (each for each in Runner(tmp_path, {}, {}).steps if "cosign-installer" in each.get("uses", ""))
    assert step["with"]["cosign-release"] == signing.COSIGN.version
