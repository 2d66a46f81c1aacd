"""Which files are looked at, what is made of each, and where the answer goes."""

import json
import os
import threading
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.support.command import nonroot
from tests.unit.check.files import POD

ROOT = POD.replace("runAsNonRoot: true", "runAsUser: 0")
OPEN = POD.replace("runAsNonRoot: true", "runAsUser: 7")
BUILD = "# syntax=docker/dockerfile:1\nFROM scratch\nUSER root\n"
JOBSET = """\
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata: {name: d}
spec:
  replicatedJobs:
    - template: {spec: {template: {spec: {containers: [{name: c, image: x, securityContext: {runAsUser: 0}}]}}}}
"""
WORKFLOW = """\
apiVersion: argoproj.io/v1alpha1
kind: CronWorkflow
metadata: {name: w}
spec:
  workflowSpec:
    securityContext: {runAsUser: 0}
    templates:
      - name: main
        container: {name: c, image: x}
      - name: other
        securityContext: {runAsUser: 7}
        script: {image: y, source: x}
"""
TASK = """\
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: t}
spec:
  steps:
    - name: a
      image: x
      securityContext: {runAsUser: 5}
    - name: b
      image: x
      securityContext: {runAsUser: 0}
"""
TEMPLATE = """\
apiVersion: template.openshift.io/v1
kind: Template
metadata: {name: t}
objects:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: d}
    spec: {template: {spec: {containers: [{name: c, image: x, securityContext: {runAsUser: 0}}]}}}
"""
POLICY = """\
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {name: p}
spec: {rules: [{validate: {pattern: {spec: {containers: [{image: "!*:latest"}]}}}}]}
"""


def found(folder: Path, files: dict[str, str | bytes], *arguments: str, stdin: str = "") -> tuple[int, list[str], str]:
    """The exit code, `PATH:LINE rule` of each finding, and the text."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    run = nonroot("check", "--no-images", *(arguments or (".",)), cwd=folder, stdin=stdin)
    heads = [line.split(" ") for line in run.stdout.splitlines() if line[:1].strip() and ": error " in line]
    assert "Traceback" not in run.stderr
    return (
        run.returncode,
        [f"{head[0].split(':')[0]}:{head[0].split(':')[1]} {head[2]}" for head in heads],
        run.stdout + run.stderr,
    )


def test_a_dockerfile_is_one_by_its_content(tmp_path: Path) -> None:
    """Under any name that is given, and on standard input; other programs' files by such names are left alone."""
    named = found(tmp_path, {"build-alpine": BUILD, "cm.yaml": "a: 1\n"}, "cm.yaml", "build-alpine")
    assert named[:2] == (1, ["build-alpine:3 root-final-stage"])
    assert found(tmp_path, {}, "-", stdin=BUILD)[:2] == (1, ["-:3 root-final-stage"])
    assert found(tmp_path, {}, "--kind", "dockerfile", "-", stdin="RUN x\n")[0] == 3
    (tmp_path / "build-alpine").unlink()
    others: dict[str, str | bytes] = {
        "a/dockerfile.go": "package a\n",
        "a/dockerfile.py": "import a\n",
        "a/Dockerfile-web": BUILD,
    }
    assert found(tmp_path, others, "a")[:2] == (1, ["a/Dockerfile-web:3 root-final-stage"])


def test_a_template_of_a_dockerfile_is_called_one(tmp_path: Path) -> None:
    """It is no broken Dockerfile."""
    code, _, text = found(tmp_path, {"Dockerfile.j2": "{% if x %}\nFROM a\n{% endif %}\n"}, "Dockerfile.j2")
    assert code == 3
    assert "a template of a Dockerfile says nothing before it is rendered" in text


def test_bytes_that_are_no_utf_8(tmp_path: Path) -> None:
    """In a Dockerfile's comment, as BuildKit takes them; in a file's name, in every format."""
    (tmp_path / os.fsdecode(b"Dockerfile.\xff")).write_text("FROM scratch\n")
    code, places, _ = found(tmp_path, {"Dockerfile": b"# caf\xe9\nFROM scratch\nUSER root\n"})
    assert (code, len(places)) == (1, 2)
    for form in ("json", "sarif", "github", "html", "junit", "gitlab"):
        run = nonroot("check", "--no-images", "-o", form, ".", cwd=tmp_path)
        assert (run.returncode, run.stderr) == (1, ""), form
        run.stdout.encode()


def test_a_line_break_in_a_files_name_hides_nothing(tmp_path: Path) -> None:
    """Of a folder kubectl applies such a file too."""
    files: dict[str, str | bytes] = {"a\nb.yaml": ROOT, "c\n.Dockerfile": BUILD}
    code, places, text = found(tmp_path, files)
    assert (code, places) == (1, ["a\\nb.yaml:11 root-user", "c\\n.Dockerfile:3 root-final-stage"]), text


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    """It may never end; the same pipe is read where it is named, as a shell's <(…) is."""
    pipe = tmp_path / "pod.yaml"
    os.mkfifo(pipe)
    code, places, text = found(tmp_path, {"other.yaml": ROOT})
    assert (code, places) == (1, ["other.yaml:11 root-user"])
    assert "pod.yaml:1: skipped a pipe" in text
    writer = threading.Thread(target=pipe.write_text, args=(ROOT,))
    writer.start()
    assert found(tmp_path, {}, "pod.yaml")[:2] == (1, ["pod.yaml:11 root-user"])
    writer.join()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux' full device")
def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    """And is no finding."""
    (tmp_path / "Dockerfile").write_text(BUILD)
    run = nonroot("check", "--no-images", "--output-file", "/dev/full", "Dockerfile", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (2, "nonroot: cannot write '/dev/full': No space left on device\n")


def test_files_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    """Broken YAML without an apiVersion is nobody's manifest; a hook names such files."""
    files: dict[str, str | bytes] = {"x/app.yml": "a: {{ x }}\nb: [\n", "pod.yaml": OPEN}
    assert found(tmp_path, files)[0] == 0
    assert found(tmp_path, {"mkdocs.yml": "a: b\n"}, "mkdocs.yml")[0] == 2
    assert found(tmp_path, {}, "--skip-others", "mkdocs.yml", "x/app.yml")[0] == 0


def test_a_kustomization_of_which_nothing_was_evaluated_is_reported_as_one(tmp_path: Path) -> None:
    """With the command that renders it; one whose Pods are beside it is fine."""
    files: dict[str, str | bytes] = {
        "overlay/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    }
    code, _, text = found(tmp_path, files, "overlay")
    assert (code, "kubectl kustomize overlay | nonroot check -" in text) == (3, True)
    assert found(tmp_path, {"overlay/pod.yaml": OPEN}, "overlay")[0] == 0


@pytest.mark.parametrize(
    ("text", "expected", "kinds"),
    [
        (JOBSET, ["x.yaml:6 root-user"], "JobSet"),
        (WORKFLOW, ["x.yaml:9 root-user"], "CronWorkflow"),
        (TASK, ["x.yaml:11 root-user"], "Task"),
        (TEMPLATE, ["x.yaml:8 root-user"], ""),
        (POLICY, [], ""),
    ],
)
def test_pod_templates_are_found_by_their_shape(tmp_path: Path, text: str, expected: list[str], kinds: str) -> None:
    """In kinds that nobody named, and the summary says in which."""
    _, places, said = found(tmp_path, {"x.yaml": text}, "x.yaml")
    assert places == expected
    assert (f"found by their shape in {kinds}" in said) == bool(kinds)


def test_json_documents_may_be_separated_as_yaml_ones(tmp_path: Path) -> None:
    """As kubectl reads both, and YAML behind JSON."""
    container = '{"name":"c","image":"x","securityContext":{"runAsUser":0}}'
    pod = f'{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"b"}},"spec":{{"containers":[{container}]}}}}'
    assert found(tmp_path, {"p.json": f"{pod}\n---\n{pod}\n---\n{ROOT}"}, "p.json")[1] == [
        "p.json:1 root-user",
        "p.json:3 root-user",
        "p.json:15 root-user",
    ]


def test_one_file_has_one_path(tmp_path: Path) -> None:
    """However it is given."""
    code, places, _ = found(tmp_path, {"pod.yaml": ROOT}, "pod.yaml", "./pod.yaml", str(tmp_path / "pod.yaml"))
    assert (code, places) == (1, ["pod.yaml:11 root-user"])


def test_what_is_ignored_is_left_out(tmp_path: Path) -> None:
    """By --exclude, by .gitignore up to the repository's root, by .nonrootignore, by the configuration."""
    (tmp_path / ".git").mkdir()
    files: dict[str, str | bytes] = {
        ".gitignore": "generated/\n*.gen.yaml\n!keep.gen.yaml\n",
        "app/.nonrootignore": "/local.yaml\n",
        "app/pod.yaml": ROOT,
        "app/local.yaml": ROOT,
        "app/x.gen.yaml": ROOT,
        "app/keep.gen.yaml": ROOT,
        "app/generated/pod.yaml": ROOT,
        "app/vendor/pod.yaml": ROOT,
    }
    expected = [f"app/{name}:11 root-user" for name in ("keep.gen.yaml", "pod.yaml", "vendor/pod.yaml")]
    assert found(tmp_path, files, "app")[1] == expected
    assert found(tmp_path, {}, "--exclude", "vendor/", "--exclude", "keep*", "app")[1] == expected[1:2]
    assert found(tmp_path, {".nonroot.yaml": "exclude: [vendor]\nrules: {root-user: off}\n"}, "app")[:2] == (0, [])
    code, _, text = found(tmp_path, {".nonroot.yaml": "rules: {rot: off}\n"}, "app")
    assert (code, "there is no rule 'rot'" in text) == (2, True)


@pytest.mark.parametrize(
    "content", ["a: " + "[" * 50_000, "a: 2001-99-99", "a: " + "9" * 5000, "a: \xff", "a: [", "a: *b"]
)
def test_a_configuration_or_policy_that_breaks_its_reader(tmp_path: Path, content: str) -> None:
    """It may be a stranger's, in a pull request: told in one line."""
    files: dict[str, str | bytes] = {"pod.yaml": ROOT, "broken.yaml": content.encode("latin-1")}
    for name, arguments in (("broken.yaml", ("--policy", "broken.yaml", "pod.yaml")), (".nonroot.yaml", ("pod.yaml",))):
        code, _, text = found(tmp_path, {**files, name: content.encode("latin-1")}, *arguments)
        assert (code, text.count("\n")) == (2, 1), text
        assert name in text
        assert "a fault of ours" not in text


def test_what_is_known_or_accepted_fails_nothing(tmp_path: Path) -> None:
    """A baseline, an annotation with a reason, and the two exit codes that may be given up."""
    assert found(tmp_path, {"pod.yaml": ROOT}, "--exit-zero", "pod.yaml")[0] == 0
    assert found(tmp_path, {}, "-o", "json=old.json", "pod.yaml")[0] == 1
    assert found(tmp_path, {"new.yaml": ROOT}, "--baseline", "old.json", "pod.yaml", "new.yaml")[1] == [
        "new.yaml:11 root-user"
    ]
    assert found(tmp_path, {"bad.json": "{}"}, "--baseline", "bad.json", "pod.yaml")[0] == 2
    allowed = ROOT.replace("  name: web\n", "  name: web\n  annotations: {nonroot.dev/allow.root-user: it must}\n")
    assert found(tmp_path, {"pod.yaml": allowed}, "pod.yaml")[0] == 0
    assert found(tmp_path, {"pod.yaml": allowed.replace("root-user", "rot")}, "pod.yaml")[0] == 1
    assert found(tmp_path, {"k.yaml": "apiVersion: [\n"}, "k.yaml")[0] == 3
    assert found(tmp_path, {}, "--accept-skipped", "k.yaml")[0] == 0


def test_one_run_has_several_outputs(tmp_path: Path) -> None:
    """Each to its own file; two for one place are refused."""
    code, places, _ = found(
        tmp_path,
        {"pod.yaml": ROOT},
        "-o",
        "text",
        "-o",
        "junit=j.xml",
        "-o",
        "gitlab=g.json",
        "-o",
        "sarif=s.json",
        "pod.yaml",
    )
    assert (code, places) == (1, ["pod.yaml:11 root-user"])
    suite = ET.parse(tmp_path / "j.xml").getroot()  # noqa: S314  # our own
    assert (suite.get("failures"), suite[0].get("classname")) == ("1", "pod.yaml")
    (issue,) = json.loads((tmp_path / "g.json").read_text())
    assert (issue["check_name"], issue["location"]) == ("root-user", {"path": "pod.yaml", "lines": {"begin": 11}})
    rules = json.loads((tmp_path / "s.json").read_text())["runs"][0]["tool"]["driver"]["rules"]
    assert {each["properties"]["security-severity"] for each in rules} == {"8.0", "5.0"}
    assert found(tmp_path, {}, "-o", "text", "-o", "json", "pod.yaml")[0] == 2
    assert found(tmp_path, {}, "-o", "xml", "pod.yaml")[0] == 2
