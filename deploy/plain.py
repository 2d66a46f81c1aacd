"""The chart as plain manifests, for those who apply files instead of running Helm.

    python -m deploy.plain    # writes deploy/manifests/nonroot-webhook.yaml; a test says when it has been forgotten

What `helm template` prints with the default values, for the namespace that the other examples use, without what only
Helm reads: its labels, and the Pod of `helm test`.
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
HELM_ALONE = re.compile(r"^ +(helm\.sh/chart: .*|app\.kubernetes\.io/managed-by: Helm)\n", re.MULTILINE)


def rendered() -> str:
    """The manifests; `ClusterError` or `subprocess.CalledProcessError` where Helm cannot be had or refuses."""
    build.ensure(["helm"])
    command = [build.program("helm", "helm"), "template", RELEASE, str(CHART), "--namespace", NAMESPACE]
    command += ["--set", "tests.enabled=false,crds.keep=false"]
    return HEADER + HELM_ALONE.sub("", subprocess.check_output(command, text=True))


if __name__ == "__main__":
    MANIFESTS.write_text(rendered())
