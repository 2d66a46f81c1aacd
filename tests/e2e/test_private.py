"""A private registry: the Pod's own pull secret opens its image, for that Pod alone."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from deploy.dev.images.build import Pushed
from tests.e2e.conftest import fronts
from tests.e2e.front import front
from tests.e2e.target import Target, eventually
from tests.e2e.test_remembered import create

pytestmark = pytest.mark.e2e

PASSWORD = "a-canary-that-must-not-be-seen"


@pytest.fixture(scope="module")
def private(installed: Target, images: dict[str, Pushed]) -> Iterator[str]:
    """An image that only `user` may read."""
    _, line = fronts(installed.registry)
    with front(line, installed.registry, login=f"user:{PASSWORD}"):
        yield images["a-useradd-uid"].reference.replace(installed.registry, line)


def _create(target: Target, namespace: str, image: str, *secrets: str) -> tuple[dict[str, Any], str]:
    """A Pod as the API server would store it, and what the user is told."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app"},
        "spec": {
            "containers": [{"name": "app", "image": image}],
            "imagePullSecrets": [{"name": name} for name in secrets],
        },
    }
    return create(target, namespace, pod, dry_run=True)


def _enforced(target: Target, namespace: str, private: str) -> None:
    """A namespace with two pull secrets, of which one is `right`."""
    target.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    login = (f"--docker-server={private.partition('/')[0]}", "--docker-username=user")
    for name, password in (("right", PASSWORD), ("wrong", "nonsense")):
        command = ("-n", namespace, "create", "secret", "docker-registry", name)
        target.kubectl(*command, *login, f"--docker-password={password}")


def test_a_pull_secret_opens_an_image_for_its_own_pods_only(installed: Target, private: str, namespace: str) -> None:
    """Without it the image is unknown before and after: what one Pod may read is no other's business."""
    target = installed
    _enforced(target, namespace, private)
    for secrets, opened in (
        ((), False),
        (("wrong",), False),
        (("wrong", "right"), True),
        ((), False),
        (("gone",), False),
    ):
        context, result = _create(target, namespace, private, *secrets)
        assert context.get("runAsUser") == (1000 if opened else None), (secrets, result)
        assert ("unauthorized" in result) is not opened, (secrets, result)
        assert "appuser" not in result
        assert PASSWORD not in result
    log = target.kubectl("-n", "nonroot-system", "logs", "-l", "app.kubernetes.io/component=admission", "--tail=-1")
    assert PASSWORD not in log


def test_a_template_is_opened_by_the_secrets_of_its_account(installed: Target, private: str, namespace: str) -> None:
    """Either its own or the account's, as its Pods will be given them; another account's are no use."""
    target = installed
    _enforced(target, namespace, private)
    puller = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller"}}
    target.apply({**puller, "imagePullSecrets": [{"name": "right"}]}, namespace=namespace)

    def result(account: str, *secrets: str) -> str | None:
        spec = {
            "serviceAccountName": account,
            "containers": [{"name": "app", "image": private}],
            "imagePullSecrets": [{"name": name} for name in secrets],
        }
        template = {"metadata": {"labels": {"app": "x"}}, "spec": spec}
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "app"},
            "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template},
        }
        told = "\n".join(target.api.create(deployment, namespace, dry_run=True).warnings)
        return None if "still being looked at" in told else f"told: {told}"

    for account, secrets, opened in (("puller", (), True), ("default", (), False), ("puller", ("wrong",), False)):
        said = eventually(partial(result, account, *secrets), f"a word on {account}")
        assert ("unauthorized" in said) is not opened, said
