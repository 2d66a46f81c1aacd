"""Public registries whose token services are known."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from webhook.registry.auth.realms import REALMS, expected
from webhook.registry.client import RegistryClient
from webhook.registry.endpoints import api_host
from webhook.registry.settings import ClientCertificate, Host, RegistrySettings


def test_every_realm_is_a_plain_address_over_tls() -> None:
    """At the registry itself, or at its owner's."""
    for authority, parameters in REALMS.items():
        realm = urlsplit(parameters["realm"])
        assert set(parameters) == {"realm", "service"}
        assert (realm.scheme, realm.query, realm.fragment) == ("https", "", "")
        assert ".".join(authority.split(".")[-2:]) == ".".join((realm.hostname or "").split(".")[-2:])


@pytest.mark.parametrize("registry", ["docker.io", "ghcr.io", "registry.gitlab.com"])
async def test_a_client_expects_what_is_known(registry: str) -> None:
    """Under the name of the host that is asked."""
    client = RegistryClient()
    assert client._session.expected[api_host(registry)] == REALMS[api_host(registry)]
    await client.aclose()


@pytest.mark.parametrize(
    "settings",
    [
        {"insecure": frozenset({"ghcr.io"})},
        {"allowed": frozenset({"ghcr.io"})},
        {"authorities": {"ghcr.io": "PEM"}},
        {"client_certificates": {"ghcr.io": ClientCertificate(Path("pair.pem"))}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_name_behind_which_somebody_else_may_be_is_not_the_registry(settings: dict[str, Any]) -> None:
    """A mirror with a CA of one's own, say, whose passwords are nobody else's business; the others stay known."""
    assert set(REALMS) - set(expected(RegistrySettings(**settings))) == {"ghcr.io"}


def test_a_mirror_of_its_own_name_says_nothing_about_the_registry() -> None:
    """It is asked under its own name, of which nothing is known."""
    assert expected(RegistrySettings(hosts={"ghcr.io": (Host("mirror.example.com"), Host())})) == REALMS
