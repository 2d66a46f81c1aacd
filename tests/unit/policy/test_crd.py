"""The CRDs: generated from the types, structural, and accepted by a real API server."""

import enum
import json
import runpy
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import yaml
from ruamel.yaml import YAML

from tests.support import cluster
from webhook.policy import crd, types

BY_KIND = {resource.kind: resource for resource in crd.RESOURCES}


def _spec(kind: str) -> dict[str, Any]:
    (version,) = crd.definition(BY_KIND[kind])["spec"]["versions"]
    spec: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


@pytest.mark.parametrize("path", ["", "new/crds"])
def test_the_chart_holds_what_the_types_say(path: str, tmp_path: Path) -> None:
    """Written into a directory that is there, or is made."""
    folder = tmp_path / path
    crd.write(folder)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    kept = {path.name: path.read_text() for path in cluster.CRDS.iterdir()}
    assert kept == made, "run python -m webhook.policy.crd charts/nonroot-webhook/files/crds"


@pytest.mark.parametrize("resource", crd.RESOURCES, ids=lambda each: each.kind)
def test_a_definition_is_the_charts(resource: crd.Resource) -> None:
    """Read by another library, and so without the time that writing takes."""
    kept = yaml.load((cluster.CRDS / f"{resource.plural}.yaml").read_text(), yaml.CSafeLoader)
    assert json.loads(json.dumps(crd.definition(resource))) == kept


@pytest.mark.parametrize("kind", BY_KIND)
def test_nothing_in_it_is_beyond_a_structural_schema(kind: str) -> None:
    definition = json.loads(json.dumps(crd.definition(BY_KIND[kind])))
    assert list(YAML(typ="safe", pure=True).load((cluster.CRDS / f"{BY_KIND[kind].plural}.yaml").read_text())) == list(
        definition
    )
    text = json.dumps(definition)
    for word in ("$ref", "anyOf", "allOf", '"null"', '"title"', "prefixItems"):
        assert word not in text


def test_defaults_are_those_of_the_types() -> None:
    def stored(schema: dict[str, Any]) -> Any:
        inner = {name: stored(each) for name, each in schema.get("properties", {}).items() if "default" in each}
        return inner or schema["default"]

    assert msgspec.convert(stored(_spec("NonRootPolicy")), types.PolicySpec) == types.PolicySpec()


def _undescribed(schema: dict[str, Any], path: str) -> list[str]:
    found = []
    for name, each in schema.get("properties", {}).items():
        inner = f"{path}.{name}"
        found += ([] if each.get("description") else [inner]) + _undescribed(each, inner)
        found += _undescribed(each.get("items", {}), inner)
    return found


@pytest.mark.parametrize("kind", ["NonRootPolicy", "NonRootException"])
def test_every_field_is_described(kind: str) -> None:
    resource = BY_KIND[kind]
    assert resource.status is not None
    for part in (resource.spec, resource.status):
        assert _undescribed(crd.schema(part), kind) == []


class Word(enum.Enum):
    """A word that stands for a number."""

    LEAST = "least"
    MOST = "most"


class Port(msgspec.Struct):
    """A named port."""

    number: Annotated[int, msgspec.Meta(ge=1, le=9)] | Word


class Ports(msgspec.Struct):
    """Ports by name."""

    named: dict[str, Port]


def test_references_are_written_out_wherever_they_are() -> None:
    """In values of a mapping, and in a number or one of some words."""
    number = {
        "description": "",
        "x-kubernetes-int-or-string": True,
        "x-kubernetes-validations": [
            {
                "rule": "type(self) == int ? self >= 1 && self <= 9 : self in ['least', 'most']",
                "message": "must be a number from 1 to 9, or least or most",
            }
        ],
    }
    port = {
        "description": "A named port.",
        "type": "object",
        "required": ["number"],
        "properties": {"number": number},
    }
    named = {"type": "object", "additionalProperties": port}
    assert crd.schema(Ports) == {
        "description": "Ports by name.",
        "type": "object",
        "required": ["named"],
        "properties": {"named": named},
    }


def test_an_empty_default_is_not_stored_in_every_object() -> None:
    properties = _spec("NonRootPolicy")["properties"]
    assert "default" not in properties["presets"]
    assert "default" not in properties["exemptions"]
    assert properties["onUnknown"]["default"] == {}


def test_every_kind_carries_the_label_by_which_it_is_noticed() -> None:
    for resource in crd.RESOURCES:
        labels = crd.definition(resource)["metadata"]["labels"]
        assert labels["app.kubernetes.io/part-of"] == "nonroot-webhook"


def test_the_command_writes_into_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which it makes, or which is there already."""
    monkeypatch.setattr(sys, "argv", ["crd", str(tmp_path / "new" / "crds")])
    for _ in range(2):
        runpy.run_path(crd.__file__, run_name="__main__")
    assert len(list((tmp_path / "new" / "crds").iterdir())) == len(crd.RESOURCES)
    monkeypatch.setattr(sys, "argv", ["crd"])
    with pytest.raises(SystemExit, match="usage"):
        runpy.run_path(crd.__file__, run_name="__main__")


# --- against a real API server ---
