"""To whom the metrics are shown, by an API server that answers as told."""

import pytest

from tests.support.scripted import Api, status
from webhook.cluster.client import Cluster
from webhook.cluster.metrics_readers import MetricsReaders
from webhook.cluster.users import TOKEN_LIMIT

PROMETHEUS = {"authenticated": True, "user": {"username": "system:serviceaccount:monitoring:prometheus"}}


async def test_a_reader_is_whom_rbac_lets_get_the_path(api: Api, connection: Cluster) -> None:
    """From memory for a minute: Prometheus asks twice in it."""
    readers = MetricsReaders.of(connection)
    api.answer(201, {"status": {**PROMETHEUS, "allowed": True}})
    for _ in range(2):
        assert await readers.refusal("Bearer t0k") is None
    (_, (_, path, body, _)) = api.asked
    assert path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert body["spec"]["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
    assert "resourceAttributes" not in body["spec"]


async def test_the_error_of_others_names_the_right_to_add(api: Api, connection: Cluster) -> None:
    api.answer(201, {"status": {**PROMETHEUS, "allowed": False}})
    words = (
        "system:serviceaccount:monitoring:prometheus may not get /metrics: bind them to the ClusterRole "
        "nonroot-webhook-metrics, or name them in the chart value metrics.subjects\n"
    )
    assert await MetricsReaders.of(connection).refusal("bearer t0k") == (403, words)


@pytest.mark.parametrize("header", ["", "Bearer", "Basic dTpw", f"Bearer {'x' * (TOKEN_LIMIT + 1)}"])
async def test_who_shows_no_token_is_not_asked_about(api: Api, connection: Cluster, header: str) -> None:
    refusal = await MetricsReaders.of(connection).refusal(header)
    assert refusal == (401, "show a token of the cluster: Authorization: Bearer TOKEN\n")
    assert api.asked == []


async def test_a_token_that_is_nobodys_is_refused(api: Api, connection: Cluster) -> None:
    api.answer(201, {"status": {"authenticated": False}})
    refusal = await MetricsReaders.of(connection).refusal("Bearer t0k")
    assert refusal is not None
    assert refusal[0] == 401


async def test_without_an_answer_nobody_reads(api: Api, connection: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """And the reason is for the log, not for strangers."""
    api.answer(403, status(403, 'User "x" cannot create resource "tokenreviews"'))
    refusal = await MetricsReaders.of(connection).refusal("Bearer t0k")
    assert refusal == (503, "the API server could not be asked who may read the metrics, which the log explains\n")
    assert 'cannot create resource "tokenreviews"' in caplog.text
    assert "t0k" not in caplog.text
