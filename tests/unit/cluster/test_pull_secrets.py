"""The pull secrets of Pods, asked of a small server that answers as scripted."""

import pytest

from tests.support.scripted import PASSWORD, Api, a_secret, status
from webhook.cluster.client import Cluster
from webhook.cluster.pull_secrets import PullSecrets
from webhook.cluster.secrets import Secret
from webhook.image.source import Unknown


@pytest.fixture
def secrets(connection: Cluster) -> PullSecrets:
    return PullSecrets(connection)


async def test_a_pull_secret_is_given_as_it_is(api: Api, secrets: PullSecrets) -> None:
    api.answer(200, a_secret(key=PASSWORD))
    assert await secrets.get("web", "pull") == Secret("kubernetes.io/dockerconfigjson", {"key": PASSWORD}, "7")
    api.answer(404, status(404, "not found"))
    assert await secrets.get("web", "pull") is None


async def test_a_forbidden_pull_secret_is_unknown_and_says_which_binding_is_missing(
    api: Api, secrets: PullSecrets
) -> None:
    api.answer(403, status(403, "forbidden"))
    found = await secrets.get("web", "pull")
    assert isinstance(found, Unknown)
    assert found.cause == "unauthorized"
    assert "RoleBinding in namespace web" in found.detail
    assert "nonroot-webhook-pull-secrets" in found.detail


async def test_a_pull_secret_that_the_api_server_does_not_give_is_unknown(api: Api, secrets: PullSecrets) -> None:
    api.answer(503, status(503, "not now"))
    found = await secrets.get("web", "pull")
    assert found == Unknown("unreachable", "the API server did not give the pull secret web/pull")


async def test_an_account_names_the_pull_secrets_of_templates(api: Api, secrets: PullSecrets) -> None:
    """In order; one that is not there names none, and what stands in the way is told as for a Secret."""
    api.answer(200, {"imagePullSecrets": [{"name": "b"}, {"name": ""}, {"name": "a"}]})
    assert await secrets.names("web", "shop") == ("b", "a")
    assert api.asked[-1][1] == "/api/v1/namespaces/web/serviceaccounts/shop"
    for answered in ((200, {}), (404, status(404, "not found"))):
        api.answer(*answered)
        assert await secrets.names("web", "shop") == ()
    api.answer(403, status(403, "forbidden"))
    found = await secrets.names("web", "shop")
    assert isinstance(found, Unknown)
    assert found.detail.startswith(
        "reading the ServiceAccount web/shop is forbidden: add a RoleBinding in namespace web"
    )


async def test_a_name_that_is_none_never_becomes_a_path(secrets: PullSecrets) -> None:
    """Nobody is asked."""
    for namespace, account in (("web", "../secrets"), ("../x", "shop"), ("web", "")):
        assert await secrets.names(namespace, account) == ()
