"""Manifests in, findings with lines out: the same evaluation as at admission, told about a file."""

from pathlib import Path

import pytest

from tests.unit.check.files import POD, places, run, run_text
from webhook.check import workloads
from webhook.check.files import Source
from webhook.check.manifest.objects import KNOWN_TEMPLATE_KINDS
from webhook.errors import InvalidSetting
from webhook.image.source import NotExamined
from webhook.policy.types import Documents, Exemptions, Metadata, NonRootPolicy, PolicySpec

WINDOWS = """\
spec:
  os: {name: windows}
  securityContext:
    windowsOptions:
      runAsUserName: ContainerAdministrator
"""
VOLUME = """\
runAsUser: 7
      volumeMounts: [{name: v, mountPath: /v}]
  volumes:
    - name: v
      persistentVolumeClaim: {claimName: v}"""


async def test_the_image_and_the_manifest_are_read_together(tmp_path: Path) -> None:
    """The finding that nobody else gives, at the image, with the kubelet's own words and both cures."""
    report = await run_text(tmp_path, POD)
    (finding,) = report.findings
    assert (finding.rule, finding.severity, finding.line, finding.column) == ("named-user", "error", 9, 7)
    assert finding.path == str(tmp_path / "pod.yaml")
    assert finding.object is not None
    assert (finding.object.kind, finding.object.namespace, finding.object.name) == ("Pod", "shop", "web")
    assert (finding.container, finding.image, finding.user) == ("app", "named:1", "app")
    assert finding.kubelet == (
        "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root"
    )
    assert "uid 1000" in finding.message
    assert "USER 1000" in finding.fix
    assert report.exit_code() == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("image: named:1", "image: numeric:1"), []),
        (("image: named:1", "image: root:1"), [("root-image", "error", 9, 7)]),
        (("image: named:1", "image: nobody:1"), [("unresolvable-user", "error", 9, 7)]),
        (("image: named:1", "image: down:1"), [("unknown-image", "unknown", 9, 7)]),
        (("image: named:1", "image: UPPER:1"), [("unknown-image", "unknown", 9, 7)]),
        (("runAsNonRoot: true", "runAsUser: 0"), [("root-user", "error", 11, 9)]),
        (("runAsNonRoot: true", "runAsUser: 7"), []),
        (("spec:\n", "spec:\n  securityContext: {runAsUser: 0}\n"), [("root-user", "error", 7, 21)]),
        (("spec:\n", "spec:\n  securityContext: {runAsUser: 7}\n"), []),
        (("spec:\n", WINDOWS), [("windows-administrator", "error", 9, 5)]),
        (("runAsNonRoot: true", VOLUME), [("volume-permissions", "warning", 8, 7)]),
        (("      securityContext:\n        runAsNonRoot: true\n", ""), []),
        (("image: named:1\n", "image: named:1 # nonroot: allow named-user until the new base is out\n"), []),
        (("    - name: app", "    # nonroot: allow named-user,root-image why\n    # more\n\n    - name: app"), []),
        (("apiVersion", "# nonroot: allow named-user why\napiVersion"), []),
        (("image: named:1\n", "image: named:1 # nonroot: allow root-image not this one\n"), [("named-user", "error", 9, 7)]),
    ],
)  # fmt: skip
async def test_each_finding_stands_at_the_field_that_causes_it(
    tmp_path: Path, change: tuple[str, str], expected: list[tuple[str, str, int, int]]
) -> None:
    """The container's field, else the Pod's, else the image, else the container; and comments let containers be."""
    assert change[0] in POD
    report = await run_text(tmp_path, POD.replace(*change))
    assert places(report) == expected
    assert report.skipped == ()
    assert report.exit_code() == (3 if ("unknown" in str(expected)) else int(any("error" in str(x) for x in expected)))


async def test_what_a_policy_cures_is_a_note(tmp_path: Path) -> None:
    """With a policy that injects, admission will do what is asked for."""
    documents = Documents((NonRootPolicy(Metadata("shops"), PolicySpec(mode="Enforce")),))
    report = await run(tmp_path, {"pod.yaml": POD}, documents=documents)
    assert places(report) == [("named-user", "note", 9, 7)]
    assert "policy shops cures it" in report.findings[0].message
    assert report.exit_code() == 0


async def test_a_policy_may_forbid_comments(tmp_path: Path) -> None:
    """They are exceptions like any other."""
    documents = Documents((NonRootPolicy(Metadata("strict"), PolicySpec(exceptions="Forbid")),))
    text = POD.replace("image: named:1\n", "image: named:1 # nonroot: allow named-user please\n")
    report = await run(tmp_path, {"pod.yaml": text}, documents=documents)
    assert places(report) == [("named-user", "error", 9, 7)]


async def test_objects_that_admission_does_not_evaluate_are_not_reported(tmp_path: Path) -> None:
    """The namespaces of the system, and what a policy exempts; it is counted."""
    report = await run_text(tmp_path, POD.replace("namespace: shop", "namespace: kube-system"))
    assert (report.findings, report.containers, report.allowed) == ((), 1, 1)
    exemptions = Exemptions(namespaces=("sh*",))
    documents = Documents((NonRootPolicy(Metadata("p"), PolicySpec(exemptions=exemptions)),))
    report = await run(tmp_path, {"pod.yaml": POD}, documents=documents)
    assert (report.findings, report.containers, report.allowed) == ((), 1, 1)


async def test_without_images_nothing_depends_on_the_network_and_nothing_is_hidden(tmp_path: Path) -> None:
    """What is left out is counted; what the manifest alone says is evaluated."""
    text = POD + "    - {name: b, image: named:1, securityContext: {runAsUser: 0}}\n"
    report = await run_text(tmp_path, text, no_images=True)
    assert places(report) == [("root-user", "error", 12, 51)]
    assert (report.containers, report.not_examined) == (2, 1)
    assert (await run_text(tmp_path, POD, no_images=True)).exit_code() == 0


JSON_POD = (
    '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, '
    '"spec": {"securityContext": {"runAsUser": 7}, "containers": []}}'
)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("apiVersion: v1\nkind: Pod\n  bad: [\n", 3, "no YAML"),
        ("{{- if .Values.on }}\napiVersion: v1\n{{- end }}\n", 1, "helm template"),
        (POD.replace("named:1", '"{{ .Values.image }}"'), 9, "is a placeholder"),
        (POD.replace("named:1", "${IMAGE}"), 9, "is a placeholder"),
        (POD.replace("runAsNonRoot: true", 'runAsUser: "7"'), 11, "must be a whole number, not a string"),
        (POD.replace("runAsNonRoot: true", f"runAsUser: {2**63}"), 11, "must be a whole number <= 9223372036854775807"),
        (POD.replace("runAsNonRoot: true", f"runAsUser: {2**70}"), 11, "must be a whole number, not a fraction"),
        (JSON_POD.replace("7", "9" * 5000), 1, "must be a whole number"),
        (POD.replace("name: app", "name: no"), 8, "must be a string, not a boolean"),
        (POD.replace("image: named:1", "image: named:1 # nonroot: allow"), 9, "allow RULE reason"),
        (POD.replace("image: named:1", "image: named:1 # nonroot: allow named-user"), 9, "allow RULE reason"),
        (POD.replace("image: named:1", "image: named:1 # nonroot: allow no-such-rule why"), 9, "allow RULE reason"),
        (POD.replace("  namespace: shop", "  namespace: shop # nonroot: allow named-user why"), 5, "at no container"),
        (POD + "# nonroot: allow named-user why\n", 12, "at no container"),
    ],
)
async def test_a_document_that_cannot_be_evaluated_is_skipped_with_its_line_and_never_clean(
    tmp_path: Path, text: str, line: int, reason: str
) -> None:
    """A template, broken YAML, a Pod that the API server would refuse, a comment that means nothing."""
    report = await run_text(tmp_path, text, no_images=True)
    (skipped,) = report.skipped
    assert skipped.line == line
    assert reason in skipped.reason
    assert report.exit_code() == 3


async def test_a_placeholder_does_not_hide_its_neighbours(tmp_path: Path) -> None:
    """Nor itself, where the image does not matter."""
    text = POD + '    - {name: b, image: "$(X)", securityContext: {runAsUser: 0}}\n    - {name: c, image: "{{ x }}"}\n'
    report = await run_text(tmp_path, text)
    assert [(each.container, each.rule) for each in report.findings] == [("app", "named-user"), ("b", "root-user")]
    assert [each.line for each in report.skipped] == [13]


async def test_a_folder_is_searched_for_what_is_kubernetes(tmp_path: Path) -> None:
    """Charts' templates only where they are none; values, packages and caches not at all."""
    report = await run(
        tmp_path,
        {
            "b.yaml": POD,
            "a.json": '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"j"},"spec":{"containers":['
            '{"name":"c","image":"root:1"}]}}',
            "package.json": '{"name": "x"}',
            "tsconfig.json": "{ // no JSON\n",
            "values.yaml": "image: root:1\n",
            "node_modules/x/pod.yaml": POD,
            "notes.txt": "kind: Pod",
            "chart/Chart.yaml": "name: x\n",
            "chart/templates/pod.yaml": POD,
            "chart/templates/other.yaml": POD + "# {{ x }}\n",
        },
        images=NotExamined(),
    )
    assert [Path(each.path).relative_to(tmp_path).as_posix() for each in report.files] == [
        "a.json", "b.yaml", "chart/templates/pod.yaml",
    ]  # fmt: skip
    assert [(Path(each.path).name, each.line) for each in report.skipped] == [("other.yaml", 12)]


async def test_a_path_that_holds_nothing_is_wrong_usage(tmp_path: Path) -> None:
    """A typing error in CI must not look clean."""
    with pytest.raises(InvalidSetting, match="nothing to check"):
        await run(tmp_path, {"values.yaml": "a: 1"})
    with pytest.raises(InvalidSetting, match="nothing to check"):
        await run(tmp_path, {})


async def test_files_that_are_no_text_or_too_large_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line of the first wrong byte."""
    (tmp_path / "x.yaml").write_bytes(b"a: 1\nb: \xff\n")
    report = await run(tmp_path, {})
    assert [(each.line, each.reason) for each in report.skipped] == [(2, "not UTF-8, as kubectl wants it: convert it")]
    monkeypatch.setattr("webhook.check.files.SIZE_LIMIT", 5)
    report = await run(tmp_path, {})
    assert "larger than" in report.skipped[0].reason


def test_a_file_is_searched_once_however_many_objects_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search for each object took minutes for thousands of them."""
    searched: list[str] = []

    class Counted:
        search = staticmethod(searched.append)

    monkeypatch.setattr(workloads, "_IMAGES", Counted)
    text = "apiVersion: v1\nkind: ConfigMap\n---\n" * 3
    assert list(workloads.read(Source("a.yaml", "manifest", text), KNOWN_TEMPLATE_KINDS)) == [None] * 3
    assert searched == [text]
