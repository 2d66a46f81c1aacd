"""The compatibility page shows what was run, and claims nothing else."""

from pathlib import Path

import pytest

from deploy.local import build
from tests.versions import results
from tests.versions.results import Combination, Part


def test_the_page_shows_what_was_kept() -> None:
    """`python -m tests.versions.results` writes it."""
    every = results.load()
    assert every
    shown = results.PAGE.read_text(encoding="utf-8")
    assert results.filled_in(shown, every) == shown


def test_no_cell_of_the_kubelet_matrix_disagreed() -> None:
    """What disagrees becomes a rule or a stated limit, which the model then has, too."""
    matrices = [each.parts["kubelet matrix"] for each in results.load() if "kubelet matrix" in each.parts]
    assert [part.figures["disagreements"] for part in matrices] == [0] * len(matrices)


def test_what_failed_or_was_not_run_is_shown_as_that() -> None:
    old = Combination(
        "1.33.13", "1.7.31", {"CRDs": Part("2026-11-30", 9, 2, failed=("a.py::b",), skipped=("a.py::c",))}
    )
    new = Combination("1.36.3", "", {"kubelet matrix": Part("2026-11-30", 9, 4, figures={"disagreements": 0})})
    shown = results.section([new, old])
    assert "| 1.36.3 | no node | 4 passed, 0 disagreements (2026-11-30) | not run |" in shown
    assert (
        "| 1.33.13 | 1.7.31 | not run | not run | not run | not run | 1 failed, 2 passed, 1 skipped (2026-11-30) |"
        in shown
    )
    assert "- Kubernetes 1.33.13, 1.7.31: a.py::b" in shown
    assert "1.33.13 and 1.7.31" not in shown  # its cells were not run, so that nothing was seen


def test_a_difference_was_seen_where_the_cells_were_run() -> None:
    part = {"kubelet matrix": Part("2026-11-30", 9, 4, figures={"disagreements": 0})}
    shown = results.section([Combination("1.33.13", "1.7.31", part)])
    assert shown.count("1.33.13 and 1.7.31") == 3
    ports = results.section([Combination("1.33.13", "1.7.31", {"privileges": Part("2026-11-30", 9, 4)})])
    assert ports.count("1.33.13 and 1.7.31") == 1
    hooks = {"hooks and CEL": Part("2026-11-30", 9, 35)}
    assert results.section([Combination("1.32.9", "", hooks)]).count("1.32.9 and no node") == 1
    assert "1.33.13 and no node" not in results.section([Combination("1.33.13", "", hooks)])
    assert "1.36.3" not in results.section([Combination("1.36.3", "2.3.4", part)]).split("versions | what", 1)[1]


def test_a_part_that_is_run_again_takes_the_place_of_what_it_came_to_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")
    results.keep("1.9.1", "2.2.1", "CRDs", Part("2026-11-29", 9, 2))
    results.keep("1.36.3", "2.2.1", "first light", Part("2026-11-29", 9, 2))
    results.keep("1.36.3", "2.2.1", "CRDs", Part("2026-11-29", 9, 2))
    results.keep("1.36.3", "2.2.1", "first light", Part("2026-11-30", 9, 3))
    newest, oldest = results.load()
    assert (newest.kubernetes, oldest.kubernetes) == ("1.36.3", "1.9.1")
    assert [(name, part.passed) for name, part in newest.parts.items()] == [("first light", 3), ("CRDs", 2)]


def test_what_is_kept_is_of_versions_that_can_be_built_here() -> None:
    """So that whoever doubts a line can run it again."""
    kubernetes, containerd = (set(versions.values()) for versions in (build.KUBERNETES, build.CONTAINERD))
    for each in results.load():
        assert f"v{each.kubernetes}" in kubernetes
        assert f"v{each.containerd}" in {"v", *containerd}
