"""What is counted of look-ups: who was asked, what came of it, and what need not be asked."""

from deploy.dev.oci import accounts_layer, image, layer
from deploy.dev.registry import Registry
from tests.support.tables import table
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import Connect
from webhook.registry.transport.stats import HostClass, host_class


@table(
    ("authority", "kind"),
    {
        "Docker Hub": ("registry-1.docker.io", "hub"),
        "Docker Hub's other name": ("docker.io", "hub"),
        "a name that only ends so": ("notdocker.io", "own"),
        "GitHub": ("ghcr.io", "public"),
        "Amazon's private registries": ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "cloud"),
        "Google's, with a port": ("europe-docker.pkg.dev:443", "cloud"),
        "Azure's, in capitals": ("TEAM.azurecr.io", "cloud"),
        "one's own": ("harbor.lan:8443", "own"),
        "an address": ("[::1]:5000", "own"),
    },
)
def test_a_registrys_class(authority: str, kind: HostClass) -> None:
    assert host_class(authority) == kind


async def test_a_look_up_is_counted_once_and_what_is_known_not_at_all(registry: Registry, client: Client) -> None:
    """A manifest, a config; then memory answers."""
    registry.push("team/app:1", image(layer(), user="1000:1000"))
    for _ in range(3):
        await client.image(f"{registry.host}/team/app:1")
    stats = client.stats
    assert stats.requests == {("own", "ok"): 2}
    assert (stats.costs["own"], stats.costs["hub"].requests) == (stats.total, 0)
    assert stats.known == {
        ("answer", "miss"): 1,
        ("answer", "hit"): 2,
        ("tag", "miss"): 1,
        ("document", "miss"): 2,
        ("document", "hit"): 1,  # the manifest, which the tag has brought
    }


async def test_each_level_of_memory_is_counted(registry: Registry, client: Client) -> None:
    """The same digest by another tag needs no config; a tag that is known nothing."""
    named = image(accounts_layer("app:x:1000:1000::/:"), user="app")
    for tag in ("1", "2"):
        registry.push(f"team/app:{tag}", named)
        await client.image(f"{registry.host}/team/app:{tag}")
    await client.image(f"{registry.host}/team/app:1", accounts=True)
    known = client.stats.known
    assert known["tag", "hit"] == 1
    assert (known["document", "miss"], known["document", "hit"]) == (3, 5)
    assert known["layer", "miss"] == 1  # read once
    assert known["layer", "hit"] > 0


async def test_what_came_of_a_request_is_its_cause(registry: Registry, connect: Connect) -> None:
    nobody = "127.0.0.1:1"
    client = connect(insecure=frozenset({registry.host, nobody}))
    assert await client.cause(f"{registry.host}/team/none:1") == "notFound"
    assert client.stats.requests == {("own", "notFound"): 1}
    assert await client.cause(f"{nobody}/team/app:1") == "unreachable"
    assert client.stats.requests["own", "unreachable"] == 3
