"""Where a Pod could land, as far as its spec tells."""

from typing import Any

from tests.support.pods import minimal, tweak, workload
from tests.support.tables import table
from webhook.workload import scheduling

TERMS = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"


def term(*requirements: tuple[str, str, list[str]]) -> dict[str, Any]:
    """A node selector term."""
    return {"matchExpressions": [dict(zip(("key", "operator", "values"), each, strict=True)) for each in requirements]}


ARCH = "kubernetes.io/arch"
OS = "kubernetes.io/os"


@table(
    ("paths", "os"),
    {
        "nothing is said": ({}, "linux"),
        "spec.os says windows": ({"spec.os.name": "windows"}, "windows"),
        "spec.os says linux over a selector": (
            {"spec.os.name": "linux", "spec.nodeSelector": {OS: "windows"}},
            "linux",
        ),
        "an unknown spec.os counts as unset": ({"spec.os.name": "plan9"}, "linux"),
        "an unknown spec.os beside a selector": (
            {"spec.os.name": "x", "spec.nodeSelector": {OS: "windows"}},
            "windows",
        ),
        "nodeSelector says windows": ({"spec.nodeSelector": {OS: "windows"}}, "windows"),
        "required affinity says windows": ({TERMS: [term((OS, "In", ["windows"]))]}, "windows"),
        "every term says windows": ({TERMS: [term((OS, "In", ["windows"]))] * 2}, "windows"),
        "one term does not": ({TERMS: [term((OS, "In", ["windows"])), term((ARCH, "In", ["amd64"]))]}, "linux"),
        "a term offers both": ({TERMS: [term((OS, "In", ["windows", "linux"]))]}, "linux"),
        "affinity contradicts the selector": (
            {"spec.nodeSelector": {OS: "windows"}, TERMS: [term((OS, "In", ["linux"]))]},
            "linux",
        ),
        "windowsOptions alone bind nothing": (
            {"spec.securityContext.windowsOptions": {"runAsUserName": "ContainerUser"}},
            "linux",
        ),
        "terms of no expressions bind nothing": ({TERMS: [{}]}, "linux"),
        "no terms": ({TERMS: []}, "linux"),
    },
)
def test_the_operating_system(paths: dict[str, Any], os: str) -> None:
    """Linux unless the Pod is bound to Windows: what is not sure is evaluated by the stricter rules."""
    assert scheduling.operating_system(workload(tweak(minimal(), paths)).spec) == os


@table(
    ("paths", "expected"),
    {
        "nothing is said": ({}, set()),
        "nodeSelector": ({"spec.nodeSelector": {ARCH: "arm64"}}, {"arm64"}),
        "required affinity": ({TERMS: [term((ARCH, "In", ["arm64", "amd64"]))]}, {"arm64", "amd64"}),
        "alternatives add up": (
            {TERMS: [term((ARCH, "In", ["arm64"])), term((ARCH, "In", ["amd64"]))]},
            {"arm64", "amd64"},
        ),
        "requirements of one term intersect": (
            {TERMS: [term((ARCH, "In", ["arm64", "amd64"]), (ARCH, "In", ["amd64", "arm"]))]},
            {"amd64"},
        ),
        "both intersect": (
            {"spec.nodeSelector": {ARCH: "arm64"}, TERMS: [term((ARCH, "In", ["arm64", "amd64"]))]},
            {"arm64"},
        ),
        "a contradiction binds nothing": (
            {"spec.nodeSelector": {ARCH: "arm64"}, TERMS: [term((ARCH, "In", ["amd64"]))]},
            set(),
        ),
        "a value that no label has is dropped": (
            {TERMS: [term((ARCH, "In", ["a" * 63, "b" * 64]))]},
            {"a" * 63},
        ),
        "another operator binds nothing": ({TERMS: [term((ARCH, "NotIn", ["amd64"]))]}, set()),
        "an unbound alternative leaves the selector": (
            {"spec.nodeSelector": {ARCH: "arm64"}, TERMS: [term(("zone", "In", ["a"]))]},
            {"arm64"},
        ),
    },
)
def test_the_architectures(paths: dict[str, Any], expected: set[str]) -> None:
    """Empty where the Pod may land on any."""
    assert scheduling.architectures(workload(tweak(minimal(), paths)).spec) == expected
