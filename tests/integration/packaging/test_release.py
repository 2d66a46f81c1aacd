"""A release as its workflow makes it, on this machine: `NONROOT_REHEARSAL=1` and an hour, as `make rehearse-release`."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local import build, cluster
from deploy.local.errors import ClusterError
from deploy.rehearsal import emulation, job, registry, users
from deploy.rehearsal.job import Release
from tests.support.helm import manifests
from webhook import __version__

pytestmark = [
    pytest.mark.index,
    pytest.mark.skipif(not os.environ.get("NONROOT_REHEARSAL"), reason="an hour: NONROOT_REHEARSAL=1"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    with job.run(tmp_path_factory.mktemp("release"), print) as release:
        yield release


def _registry(made: Release, *words: str) -> Any:
    return json.loads(made.call("skopeo", *words))


def test_its_names_are_in_lower_case(made: Release) -> None:
    """The owner's and the repository's have capitals here."""
    assert made.runner.environment["GITHUB_REPOSITORY"] == "Some-Org/NonRoot-Webhook"
    assert made.image == f"ghcr.io/some-org/nonroot-webhook:{__version__}"
    assert made.chart == f"ghcr.io/some-org/charts/nonroot-webhook:{__version__}"


def test_one_index_has_the_image_of_each_architecture(made: Release) -> None:
    """Those that were built and started, with what the workflow writes into them."""
    index = _registry(made, "inspect", "--raw", f"docker://{made.image}")
    found = {}
    for each in index["manifests"]:
        reference = f"docker://{made.image.rpartition(':')[0]}@{each['digest']}"
        manifest = _registry(made, "inspect", "--raw", reference)
        found[each["platform"]["architecture"]] = manifest["config"]["digest"]
        config = _registry(made, "inspect", "--config", "--raw", reference)
        assert config["architecture"] == each["platform"]["architecture"]
        assert config["config"]["Healthcheck"]["Test"][0] == "CMD"
        labels = config["config"]["Labels"]
        assert labels["org.opencontainers.image.version"] == __version__
        assert labels["org.opencontainers.image.revision"] == made.runner.values["github.sha"]
    assert found == {name: f"sha256:{image.id}" for name, image in made.images.items()}
    assert found.keys() == {"amd64", "arm64"}


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_it_starts_on_each_architecture(made: Release, architecture: str) -> None:
    printed = users.start(made, architecture)
    assert printed["machine"] == emulation.MACHINES[architecture]
    assert printed["version"] == f"nonroot, version {__version__}"
    assert "error root-user  Pod web, container a" in printed["check"]


def test_no_tag_is_the_latest(made: Release) -> None:
    """The image has its version and what cosign adds; which release is the latest, GitHub says (chart/test_publishing.py)."""
    tags = _registry(made, "list-tags", f"docker://{made.image.rpartition(':')[0]}")["Tags"]
    assert [tag for tag in tags if not tag.startswith("sha256-")] == [__version__]


@pytest.mark.parametrize(
    ("mirror", "host"), [((), registry.NAME), (("--set", "global.imageRegistry=m.example"), "m.example")]
)
def test_the_pushed_chart_names_the_image(made: Release, mirror: tuple[str, ...], host: str) -> None:
    chart, _, version = made.chart.rpartition(":")
    rendered = made.call("helm", "template", "nonroot", f"oci://{chart}", "--version", version, *mirror)
    images = {
        container["image"]
        for each in manifests(rendered)
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"{host}/some-org/nonroot-webhook:{__version__}"}


def test_the_documented_lines_verify_image_chart_and_sbom(made: Release) -> None:
    verified = dict(users.verify(made))
    image, chart, sbom = verified.values()
    digest = made.digest
    assert f'"docker-manifest-digest":"{digest}"' in image
    assert made.runner.values["steps.chart.outputs.digest"] in chart
    statement = json.loads(base64.b64decode(json.loads(sbom)["payload"]))
    assert statement["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")
    assert statement["predicate"] == json.loads((made.runner.checkout / "dist" / "sbom.cdx.json").read_text())


def test_what_was_not_signed_or_by_another_is_refused(made: Release, tmp_path: Path) -> None:
    """The image of one architecture is in the index that was signed, and has no signature of its own."""
    options = ("--key", made.keys / "cosign.pub", "--insecure-ignore-tlog")
    index = _registry(made, "inspect", "--raw", f"docker://{made.image}")
    unsigned = f"{made.image.rpartition(':')[0]}@{index['manifests'][0]['digest']}"
    with pytest.raises(ClusterError, match=r"no (matching )?signatures"):
        made.call("cosign", "verify", *options, unsigned)
    made.call("cosign", "generate-key-pair", "--output-key-prefix", tmp_path / "other")
    with pytest.raises(ClusterError, match=r"invalid signature|no matching"):
        made.call("cosign", "verify", "--key", tmp_path / "other.pub", "--insecure-ignore-tlog", made.image)


def test_only_provenance_is_left_to_github(made: Release) -> None:
    assert made.skipped == ("actions/attest-build-provenance",)


@pytest.mark.cluster
def test_the_chart_installs_from_the_registry_and_its_pods_run_the_pushed_index(made: Release) -> None:
    build.ensure()
    with cluster.borrowed() as running:
        pod = users.install(made, running)
    (container,) = pod["status"]["containerStatuses"]
    assert container["ready"]
    assert container["image"] == f"{made.registry.address}/some-org/nonroot-webhook:{__version__}"
    assert container["imageID"].endswith(f"@{made.digest}")
