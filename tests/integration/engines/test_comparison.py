"""The comparison's Pods at the real Gatekeeper and Kyverno, with the checks that the bench gives them.

Gatekeeper's wants of a container what the library's K8sPSPAllowedUsers does in Rego with MustRunAsNonRoot: runAsUser above 0, or
runAsNonRoot. Kyverno's want what its own restricted policies do: runAsNonRoot, and no runAsUser of 0.
Sources: open-policy-agent/gatekeeper-library library/pod-security-policy/users/template.yaml; kyverno/kyverno
charts/kyverno-policies/templates/restricted/require-run-as-nonroot.yaml, require-run-as-non-root-user.yaml.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from unittest import mock

import pytest

from tests.bench import engines, servers
from tests.bench.servers import Server
from tests.e2e.target import Target, eventually
from tests.support import control_plane
from tests.support.comparison import PODS, column, written
from tests.support.pods import Object, review_body


@pytest.fixture(scope="module")
def engine_servers(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Both engines, at an API server of their own: there they stand in nobody's way."""
    folder = tmp_path_factory.mktemp("engines")
    servers.certificate(folder)
    with (
        control_plane.alone() as layout,
        mock.patch.dict(os.environ, KUBECONFIG=str(layout.kubeconfig)),
        ExitStack() as stack,
    ):
        found = [stack.enter_context(engines.gatekeeper(engines.built(engines.GATEKEEPER), folder))]
        found += stack.enter_context(engines.kyverno(engines.built(engines.KYVERNO)))
        yield {each.name: each for each in found}


@pytest.mark.parametrize(
    ("name", "title"),
    [("Gatekeeper", "Gatekeeper"), ("Kyverno, classic", "Kyverno"), ("Kyverno, CEL", "Kyverno")],
)
def test_an_engine(engine_servers: dict[str, Server], name: str, title: str) -> None:
    url = engine_servers[name].validate
    good, bad = (review_body(PODS[each]) for each in ("number-demanded", "number-as-root"))
    eventually(lambda: (servers.allows(url, good), servers.allows(url, bad)) == (True, False), f"{name} to decide", 60)

    def stored(pod: Object) -> Object | None:
        allowed = servers.allows(url, review_body(pod))
        assert allowed is not None
        return pod if allowed else None

    assert column(stored) == written(title)
