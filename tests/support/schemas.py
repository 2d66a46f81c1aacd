"""JSON schemas as kubeconform reads them, made from the Go modules in which Kubernetes and others publish their API.

Ready-made collections exist, but only as downloads from a code host; modules come through Go's own client, with their
checksums, wherever Go builds anything. What is made is kept in the cache, under a name that changes with this file.

Strict: a field that the API does not have is an error. Kind, because Go's decoder is: optional fields may be null.
Sources: kubernetes/kubernetes api/openapi-spec/swagger.json; argoproj/argo-cd manifests/crds;
cert-manager/cert-manager deploy/crds; cilium/cilium pkg/k8s/apis/cilium.io/client/crds; fluxcd/source-controller
config/crd; prometheus-operator/prometheus-operator example/prometheus-operator-crd.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.local import build
from deploy.local.paths import cache

KUBERNETES = tuple(version.removeprefix("v") for version in build.KUBERNETES.values())
"""Those that can be built here, newest first."""
FOREIGN = {
    # module and version -> the files with its CRDs
    ("github.com/cert-manager/cert-manager", "v1.21.2"): (
        "deploy/crds/cert-manager.io_certificates.yaml",
        "deploy/crds/cert-manager.io_issuers.yaml",
    ),
    ("github.com/cilium/cilium", "v1.18.4"): ("pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml",),
    ("github.com/argoproj/argo-cd/v3", "v3.5.0"): ("manifests/crds/application-crd.yaml",),
    ("github.com/fluxcd/source-controller", "v1.9.0"): (
        "config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml",
    ),
    ("github.com/prometheus-operator/prometheus-operator", "v0.85.0"): (
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
}
FILE = "{{.ResourceKind}}{{.KindSuffix}}.json"
"""kubeconform's template of a file name: kind, first part of the group if there is one, version."""
UNUSED = 7 * 24 * 3600
"""Seconds after which schemas that another state of this file has made are removed."""

Schema = dict[str, Any]


class SchemaError(Exception):
    """A module could not be had, or does not hold what it should; the text says which."""


def kubernetes(version: str) -> str:
    """The schema location, for kubeconform, of a Kubernetes version; made when it is asked for first."""
    module = ("k8s.io/kubernetes", f"v{version}")

    def schemas() -> Iterator[tuple[str, Schema]]:
        (swagger,) = files(module, ["api/openapi-spec/swagger.json"])
        yield from _from_swagger(json.loads(swagger))

    return _kept(f"v{version}", schemas)


def foreign() -> str:
    """The schema location of the kinds of others that the chart can make."""

    def schemas() -> Iterator[tuple[str, Schema]]:
        for module, names in FOREIGN.items():
            for text in files(module, names):
                yield from _from_crd(yaml.safe_load(text))

    return _kept("foreign", schemas)


def own(crds: Iterable[Path], folder: Path) -> str:
    """The schema location of our own kinds, written into `folder`: they change too often to be kept."""
    for path in crds:
        _write(folder, _from_crd(yaml.safe_load(path.read_text())))
    return f"{folder}/{FILE}"


def _kept(name: str, schemas: Callable[[], Iterator[tuple[str, Schema]]]) -> str:
    """Write `schemas()` into the cache unless it is there; the folder appears only when complete."""
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    folder = cache() / "schemas" / made_by / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.touch()
    for each in folder.parent.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):  # removed by somebody else
            if each.stat().st_mtime < time.time() - UNUSED:
                shutil.rmtree(each)
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            made = Path(work) / name
            made.mkdir()
            _write(made, schemas())
            if not folder.is_dir():  # somebody else may have been faster
                made.rename(folder)
    return f"{folder}/{FILE}"


def _write(folder: Path, schemas: Iterable[tuple[str, Schema]]) -> None:
    for name, schema in schemas:
        (folder / f"{name}.json").write_text(json.dumps(schema))


def files(module: tuple[str, str], names: Iterable[str]) -> list[bytes]:
    """Files of a module's zip, as `go mod download` fetched and verified it, into a module cache that does not stay."""
    if shutil.which("go") is None:
        raise SchemaError("Go is needed to fetch the modules that hold the API schemas: go.dev/dl")
    path, version = module
    with tempfile.TemporaryDirectory() as work:
        # Unpacked, each Kubernetes is 200 MB that nobody needs; "rw" lets us remove them.
        env = {**os.environ, "GOMODCACHE": work, "GOFLAGS": "-modcacherw"}
        command = ["go", "mod", "download", "-json", f"{path}@{version}"]
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SchemaError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        with zipfile.ZipFile(json.loads(done.stdout)["Zip"]) as archive:
            try:
                return [archive.read(f"{path}@{version}/{name}") for name in names]
            except KeyError as error:
                raise SchemaError(f"{path}@{version}: {error.args[0]}") from None


def _from_swagger(swagger: Schema) -> Iterator[tuple[str, Schema]]:
    """A schema for each kind; the definitions that it refers to come along."""
    definitions = {name: _strict(definition) for name, definition in swagger["definitions"].items()}
    # In JSON a Quantity may be a number, and this is written by a marshaller that the specification does not show.
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number", "null"]}
    for name, definition in swagger["definitions"].items():
        kinds = definition.get("x-kubernetes-group-version-kind", [])
        if len(kinds) != 1:  # none: a part of kinds; several: options of requests
            continue
        needed = _reachable(name, definitions)
        yield (
            _file_name(**kinds[0]),
            {"$ref": f"#/definitions/{name}", "definitions": {each: definitions[each] for each in needed}},
        )


def _reachable(name: str, definitions: dict[str, Schema]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(_references(definitions[each]))
    return found


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):  # a CRD's own schema has a property of that name
                yield value.removeprefix("#/definitions/")
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _from_crd(crd: Schema) -> Iterator[tuple[str, Schema]]:
    spec = crd["spec"]
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        # The API server adds these itself, and checks metadata by its own rules.
        schema["properties"] |= {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
        }
        yield _file_name(spec["group"], version["name"], spec["names"]["kind"]), schema


def _file_name(group: str, version: str, kind: str) -> str:
    """As kubeconform fills FILE in."""
    return "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part)


def _strict(schema: Schema) -> Schema:
    """One schema, and those inside it, in JSON schema's own terms and without what only people read."""
    if "$ref" in schema:
        return {"anyOf": [{"$ref": schema["$ref"]}, {"type": "null"}]}
    if schema.get("format") == "int-or-string" or schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string", "null"]}
    kept = ("enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "required")
    strict: Schema = {key: schema[key] for key in kept if key in schema}
    if "type" in schema and "enum" not in schema:
        strict["type"] = [schema["type"], "null"]
    if "items" in schema:
        strict["items"] = _strict(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        strict["additionalProperties"] = _strict(schema["additionalProperties"])
    if "properties" in schema:
        strict["properties"] = {name: _strict(each) for name, each in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict.setdefault("additionalProperties", False)
    return strict
