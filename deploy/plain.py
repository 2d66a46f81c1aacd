"""The chart as plain manifests, for those who apply files instead of running Helm.

    python -m deploy.plain    # writes deploy/manifests and deploy/examples; a test says when it has been forgotten

What `helm template` prints with the default values, for the namespace that the other examples use, without what only
Helm reads: its labels, and the Pod of `helm test`. And the chart's policies for other engines, one file for each.
"""

import re
import subprocess

from deploy.local import build
from deploy.release import CHART, NAMESPACE, RELEASE, ROOT

MANIFESTS = ROOT / "deploy" / "manifests" / "nonroot-webhook.yaml"
HEADER = f"""\
# Made from charts/nonroot-webhook with its default values by python -m deploy.plain: do not edit.
#
#   kubectl apply --server-side -f deploy/manifests/nonroot-webhook.yaml
#
# Server-side, so that the caBundle that the controller writes is nobody else's. No image has been published yet: build
# it with `make image`, push it to your registry and name it there, by hand or as deploy/manifests/kustomization.yaml says.
# Tested: it is what the chart renders, it fits the schemas of Kubernetes 1.30 to 1.36, and a 1.36 API server takes it.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/part-of: nonroot-webhook
    pod-security.kubernetes.io/enforce: restricted
"""
EXAMPLES = ROOT / "deploy" / "examples"
ENGINES = {  # the names of files: a template and its values
    "admission-policy": ("admission-policy", "engines.admissionPolicy.enabled=true"),
    "gatekeeper": ("gatekeeper", "identityApi.enabled=true,engines.gatekeeper.enabled=true"),
    "kyverno": ("kyverno", "identityApi.enabled=true,engines.kyverno.enabled=true"),
    "kyverno-cel": ("kyverno", "identityApi.enabled=true,engines.kyverno.enabled=true,engines.kyverno.policies=cel"),
}
EXAMPLE_HEADER = """\
# Made from charts/nonroot-webhook by python -m deploy.plain: do not edit. docs/how-to/engines.md says what it needs.
"""
HELM_ALONE = re.compile(r"^ +(helm\.sh/chart: .*|app\.kubernetes\.io/managed-by: Helm)\n", re.MULTILINE)


def rendered() -> str:
    """The manifests; `ClusterError` or `subprocess.CalledProcessError` where Helm cannot be had or refuses."""
    return HEADER + _template("--set", "tests.enabled=false,crds.keep=false")


def examples() -> dict[str, str]:
    """The policies for other engines, by the names of their files."""
    return {
        f"{name}.yaml": EXAMPLE_HEADER + _template("--set", values, "--show-only", f"templates/engines/{template}.yaml")
        for name, (template, values) in ENGINES.items()
    }


def _template(*arguments: str) -> str:
    build.ensure(["helm"])
    command = [build.program("helm", "helm"), "template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments]
    return HELM_ALONE.sub("", subprocess.check_output(command, text=True))


if __name__ == "__main__":
    MANIFESTS.write_text(rendered())
    EXAMPLES.mkdir(exist_ok=True)
    for name, text in examples().items():
        (EXAMPLES / name).write_text(text)
