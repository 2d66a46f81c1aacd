"""The chart renders, for every set of values, what seven versions of Kubernetes and its own documentation agree with."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from deploy.dev import chart_readme
from deploy.local import build
from tests.support import schemas
from tests.support.helm import CHART, TOOLS, Manifest, ProgramError, kubeconform, manifests, pick, run, template
from webhook.registry.auth.credential_providers import CredentialProviderConfig
from webhook.registry.config_file import RegistryConfig

VALUE_SETS = sorted(CHART.glob("ci/*-values.yaml"))
SUITES = sorted(CHART.glob("tests/*_test.yaml"))
CRDS = sorted(CHART.glob("files/crds/*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """Helm and its friends, built if they are not there."""
    build.ensure(TOOLS)


def _complaints(folder: Path, version: str, own: Path) -> list[Manifest]:
    """What kubeconform has to complain about in what the chart rendered into a folder."""
    return kubeconform(folder, schemas.kubernetes(version), schemas.foreign(), schemas.own(CRDS, own), version=version)


@pytest.mark.parametrize("values", VALUE_SETS, ids=lambda path: path.stem)
def test_lints_without_a_warning(values: Path) -> None:
    run("helm", "lint", "--strict", CHART, "--values", values)


@pytest.mark.parametrize("values", VALUE_SETS, ids=lambda path: path.stem)
def test_helm_4_renders_the_same_and_has_no_warning_either(values: Path) -> None:
    build.ensure(["helm4"])
    program = build.program("helm4", "helm")
    run(program, "lint", "--strict", CHART, "--values", values)
    assert _by_name(template(values, program=program)) == _by_name(template(values))


def _by_name(rendered: str) -> list[Manifest]:
    """The objects of a rendering; in which order kinds are installed is up to each Helm."""
    return sorted(manifests(rendered), key=lambda each: (each["kind"], each["metadata"]["name"]))


def test_its_own_suites_pass() -> None:
    assert "0 failed" not in run("helm", "unittest", "--strict", CHART)


@pytest.mark.parametrize("version", schemas.KUBERNETES)
def test_fits_the_api(version: str, tmp_path: Path) -> None:
    rendered, own = tmp_path / "rendered", tmp_path / "schemas"
    rendered.mkdir()
    own.mkdir()
    for values in VALUE_SETS:
        (rendered / values.name).write_text(template(values, kubernetes=version))
    assert _complaints(rendered, version, own) == []


@pytest.mark.parametrize(
    ("kind", "name", "path"),
    [
        ("Deployment", "nonroot-webhook-admission", ("spec", "template", "spec", "containers")),
        ("ServiceMonitor", "nonroot-webhook", ("spec", "endpoints")),
        ("NonRootPolicy", "production", ("spec", "namespaceSelector")),
    ],
)
def test_the_check_against_the_api_can_fail(kind: str, name: str, path: tuple[str, ...], tmp_path: Path) -> None:
    broken = pick(template(CHART / "ci/all-values.yaml"), kind, name)
    holder = broken
    for key in path:
        holder = holder[key]
    (holder[0] if isinstance(holder, list) else holder)["noSuchField"] = 1
    rendered, own = tmp_path / "rendered", tmp_path / "schemas"
    rendered.mkdir()
    own.mkdir()
    (rendered / "broken.yaml").write_text(yaml.safe_dump(broken))
    (complaint,) = _complaints(rendered, schemas.KUBERNETES[0], own)
    assert complaint["kind"] == kind
    assert "noSuchField" in complaint["msg"]


def test_the_check_against_the_api_finds_a_key_that_is_there_twice(tmp_path: Path) -> None:
    """Which of two labels of one name counts is up to each parser."""
    rendered, own = tmp_path / "rendered", tmp_path / "schemas"
    rendered.mkdir()
    own.mkdir()
    twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {team: a, team: b}}\n"
    (rendered / "twice.yaml").write_text(twice)
    (complaint,) = _complaints(rendered, schemas.KUBERNETES[0], own)
    assert 'key "team" already set' in complaint["msg"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"hostNetwork": True}, "hostNetwork needs another webhook.port than 10250"),
        ({"metrics": {"port": 10250}}, "webhook.port and metrics.port are both 10250"),
        ({"certificates": {"mode": "existing"}}, "/certificates/existingSecret"),
        ({"certificates": {"mode": "self"}}, "/certificates/mode"),
        ({"webhook": {"enforce": {"failurePolicy": "fail"}}}, "/webhook/enforce/failurePolicy"),
        ({"webhook": {"mutate": {"failurePolicy": "fail"}}}, "/webhook/mutate/failurePolicy"),
        ({"policies": [{"name": "shops", "spec": {"moode": "Enforce"}}]}, "'moode' not allowed"),
        ({"policies": [{"name": "shops", "spec": {"mode": "enforce"}}]}, "/policies/0/spec/mode"),
        ({"global": {"imagePullSecrets": [{"names": "x"}]}}, "/global/imagePullSecrets/0"),
        ({"tokenExpirationSeconds": 60}, "/tokenExpirationSeconds"),
        ({"webhook": {"managedNamespaces": {"prefixes": ["x'] + ['"]}}}, "/webhook/managedNamespaces/prefixes/0"),
        ({"registry": {"insecure": ["http://registry.lan"]}}, "/registry/insecure/0"),
        ({"registry": {"mirrors": {"docker.io": []}}}, "/registry/mirrors/docker.io"),
        ({"registry": {"authorities": {"a.lan": {"configMap": "x"}}}}, "/registry/authorities/a.lan"),
        ({"registry": {"timeouts": {"look_up": 1}}}, "'look_up' not allowed"),
        ({"registry": {"certsDirectory": "certs.d"}}, "/registry/certsDirectory"),
        ({"image": {"digest": "sha256:short"}}, "/image/digest"),
        ({"replicaCount": 0}, "/replicaCount"),
        ({"replicas": 3}, "'replicas' not allowed"),
    ],
)
def test_refuses_with_the_value_named(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ProgramError) as caught:
        template(**given)
    assert reason in str(caught.value)


def test_the_registry_config_is_what_admission_reads() -> None:
    """Every field of it can be set: `insecure` by arguments, host files instead of mirrors."""
    data = pick(template(CHART / "ci/all-values.yaml"), "ConfigMap", "nonroot-webhook-registry")["data"]
    written = yaml.safe_load(data["config.yaml"])
    msgspec.convert(written, RegistryConfig)
    assert {*written, "insecure", "certsDirectory"} == set(RegistryConfig.__struct_encode_fields__)
    msgspec.convert(yaml.safe_load(data["credential-providers.yaml"]), CredentialProviderConfig)


def test_crds_are_rendered_as_they_were_generated() -> None:
    crds = [each for each in manifests(template()) if each["kind"] == "CustomResourceDefinition"]
    rendered = {each["metadata"]["name"]: each["spec"] for each in crds}
    generated = [yaml.safe_load(path.read_text()) for path in CRDS]
    assert rendered == {each["metadata"]["name"]: each["spec"] for each in generated}


def test_the_annotations_for_artifact_hub_list_every_crd() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    listed = {each["name"] for each in yaml.safe_load(chart["annotations"]["artifacthub.io/crds"])}
    assert listed == {yaml.safe_load(path.read_text())["metadata"]["name"] for path in CRDS}


def test_the_readme_lists_values_and_metrics() -> None:
    readme = chart_readme.README.read_text()
    expected = chart_readme.filled_in(readme, (CHART / "values.yaml").read_text())
    assert readme == expected, "run: python -m deploy.dev.chart_readme"


def test_the_schema_has_the_policy_of_the_crd() -> None:
    schema = chart_readme.SCHEMA.read_text()
    expected = chart_readme.with_policies(schema, chart_readme.POLICIES.read_text())
    assert schema == expected, "run: python -m deploy.dev.chart_readme"


# The keys that `controller` may have for itself, by nonroot.podSettings, and that values.yaml lists once.
_SHARED = set(
    re.findall(r'"(\w+)"', re.findall(r"range \$key := list (.*) -", (CHART / "templates/_helpers.tpl").read_text())[1])
)


def test_the_schema_knows_exactly_the_values() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert list(_disagreements(schema, values, schema["definitions"], "")) == []


def _disagreements(schema: dict[str, Any], value: Any, definitions: dict[str, Any], path: str) -> Iterator[str]:
    """Keys of a default that the schema lacks, and the other way round; maps whose keys are free are not entered."""
    if reference := schema.get("$ref"):
        schema = definitions[reference.removeprefix("#/definitions/")]
    properties = schema.get("properties")
    if properties is None:
        return
    if schema.get("additionalProperties") is not False and path != ".global":
        yield f"{path}: takes unknown keys"
    if not value:
        return  # an empty map whose possible keys only the schema lists
    own = {key for key in properties if path != ".controller" or key not in _SHARED or key in value}
    yield from (f"{path}.{key}" for key in own ^ value.keys())
    for key in properties.keys() & value.keys():
        yield from _disagreements(properties[key], value[key], definitions, f"{path}.{key}")


def test_every_template_has_a_suite() -> None:
    templates = {str(path.relative_to(CHART / "templates")) for path in (CHART / "templates").rglob("*.*")}
    tested = {
        each.removeprefix("templates/") for suite in SUITES for each in yaml.safe_load(suite.read_text())["templates"]
    }
    assert tested == {path for path in templates if not path.startswith("_")}


def test_every_value_is_set_by_some_test() -> None:
    values = [value.path for value in chart_readme.documented((CHART / "values.yaml").read_text())]
    tests = [test for suite in SUITES for test in yaml.safe_load(suite.read_text())["tests"]]
    used = {path for test in tests for path in _paths(test.get("set", {}))}
    assert [path for path in values if path not in used] == []


def _paths(given: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted paths of a suite's `set`, where keys may have dots of their own."""
    for key, value in given.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _paths(value, f"{prefix}{key}.")
