"""The values for kind, as helm takes them."""

from pathlib import Path

from deploy.local import build
from tests.integration.deploy.test_kind import _record
from tests.support.helm import CHART, RELEASE, TOOLS, manifests, run


def test_the_chart_takes_what_helm_is_given(tmp_path: Path) -> None:
    build.ensure(TOOLS)
    recorded = _record("up.sh", tmp_path, missing=True)
    command = recorded.commands[recorded.first("helm", "upgrade")]
    settings = [word for place, word in enumerate(command) if "--set" in command[place - 1] or "--set" in word]
    (admission,) = (
        each
        for each in manifests(run("helm", "template", RELEASE, CHART, *settings))
        if each["kind"] == "Deployment" and each["metadata"]["name"].endswith("-admission")
    )
    (container,) = admission["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "nonroot-webhook:0123456789ab"
    assert "--insecure-registry=nonroot-registry:5000" in container["args"]
