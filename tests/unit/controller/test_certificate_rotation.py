"""Rotation against a small API server in memory, at every point where it may be killed, over years of a fixed clock."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import msgspec
import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tests.support.controllers import CONFIGURATIONS, FakeObjects, Killed
from webhook.cluster.errors import ClusterError, Conflict
from webhook.cluster.secrets import Secret
from webhook.controller.certificate_objects import WebhookConfiguration
from webhook.controller.certificate_rotation import (
    OVERLAP,
    SETTLE,
    InjectCaBundle,
    Names,
    Pending,
    Plan,
    Rotation,
    Step,
    UpToDate,
    WriteSecret,
)
from webhook.server import certificates
from webhook.server.certificates import Pair

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LAG = timedelta(minutes=3)  # how long a replica may go on with a leaf that has been replaced
PLAN = Plan(certificates.service_hosts("hook", "web"), 365 * DAY, 90 * DAY)
NAMES = Names("web", "ca", "tls", CONFIGURATIONS)


class World:
    """The objects, a clock, and replicas that serve what the TLS Secret holds, or held until lately."""

    def __init__(self, names: Names = NAMES) -> None:
        self.names = names
        self.objects = FakeObjects()
        self.now = BEGIN
        self.served: list[tuple[datetime, bytes]] = []  # when it was written, certificate
        self.objects.after = self._written
        self.controller = self.start()

    def start(self) -> Rotation:
        """Another process of the controller."""
        return Rotation(self.objects, self.names, PLAN, lambda: self.now)

    async def step(self) -> Step:
        """One step, after which every leaf that may be served must be trusted by every configuration."""
        step = await self.controller.step()
        self.check()
        return step

    async def settle(self, limit: int = 400) -> UpToDate:
        """Steps until there is nothing left to do, the end of an overlap included."""
        for _ in range(limit):
            step = await self.step()
            if isinstance(step, UpToDate) and "previous.crt" not in self.objects.secrets["ca"].data:
                return step
            self.now += timedelta(seconds=10 if isinstance(step, UpToDate | Pending) else 1)
        raise AssertionError(f"never in order: {self.objects.writes[-20:]}")

    async def grow_old(self) -> None:
        """Let time pass in good order until the CA, but not the leaf, is due."""
        for _ in range(8):
            await self.settle()
            self.now += 30 * DAY
        await self.settle()
        self.now = BEGIN + 244 * DAY
        self.objects.writes.clear()

    def check(self) -> None:
        """What replicas serve is trusted wherever a bundle has ever been applied."""
        serving = [leaf for number, (_, leaf) in enumerate(self.served) if self._may_serve(number)]
        bundles = {
            bundle: configuration.name
            for configuration in self.objects.configurations.values()
            for bundle in configuration.bundles.values()
            if bundle
        }
        for bundle, name in bundles.items():
            authorities = certificates.authorities(bundle, self.now)
            assert all(trusted(leaf, authorities, self.now) for leaf in serving), name

    def _may_serve(self, number: int) -> bool:
        replaced = self.served[number + 1][0] if number + 1 < len(self.served) else self.now
        return self.now - replaced < LAG

    def _written(self) -> None:
        if self.objects.writes[-1] == "tls":
            self.served.append((self.now, self.objects.secrets["tls"].data["tls.crt"]))


parsed = cache(x509.load_pem_x509_certificate)


@cache
def issued(authority: bytes, leaf: bytes) -> bool:
    """Whether the authority's key signed the leaf."""
    try:
        parsed(leaf).verify_directly_issued_by(parsed(authority))
    except (ValueError, InvalidSignature):
        return False
    return True


def trusted(leaf: bytes, authorities: tuple[bytes, ...], now: datetime) -> bool:
    certificate = parsed(leaf)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return False
    return any(issued(authority, leaf) for authority in authorities)


@pytest.fixture(autouse=True)
def each_pair_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same few are looked at in each of thousands of steps."""
    monkeypatch.setattr(certificates, "_load", cache(certificates._load))


@pytest.fixture
def world() -> World:
    return World()


async def test_a_fresh_install_writes_the_ca_then_both_bundles_then_the_leaf(world: World) -> None:
    await world.settle()
    assert world.objects.writes == ["ca", "zz-nonroot-webhook", "nonroot-webhook", "tls"]
    ca, tls = world.objects.secrets["ca"], world.objects.secrets["tls"]
    assert (ca.type, sorted(ca.data)) == ("Opaque", ["tls.crt", "tls.key"])
    assert (tls.type, sorted(tls.data)) == ("kubernetes.io/tls", ["ca.crt", "tls.crt", "tls.key"])
    assert tls.data["ca.crt"] == ca.data["tls.crt"]
    assert ca.data["tls.key"] not in tls.data.values()


async def test_a_second_controller_finds_nothing_to_do(world: World) -> None:
    first = await world.settle()
    world.controller = world.start()
    assert await world.step() == first
    assert len(world.objects.writes) == 4


async def test_a_leaf_is_renewed_without_touching_anything_else(world: World) -> None:
    await world.settle()
    world.now += 61 * DAY
    await world.settle()
    assert world.objects.writes[4:] == ["tls"]


async def test_a_change_of_ca_goes_old_and_new_then_leaf_then_new_alone(world: World) -> None:
    await world.grow_old()
    old = world.objects.secrets["ca"].data["tls.crt"]
    await world.settle()
    assert world.objects.writes == ["ca", *BUNDLES, "tls", "ca", *BUNDLES]
    assert old not in world.objects.configurations["nonroot-webhook"].bundles["one.nonroot.dev"]


BUNDLES = ("zz-nonroot-webhook", "nonroot-webhook")


async def test_the_leaf_changes_only_after_the_bundle_has_been_shown_for_a_while(world: World) -> None:
    await world.grow_old()
    for _ in range(3):
        await world.step()
    shown = world.now
    while isinstance(await world.step(), Pending):
        world.now += timedelta(seconds=1)
    assert world.now - shown == SETTLE


async def test_a_bundle_that_another_writer_spoils_begins_the_wait_anew(world: World) -> None:
    await world.grow_old()
    for _ in range(4):
        await world.step()
    world.now += SETTLE - timedelta(seconds=1)
    world.objects.put_configuration(*CONFIGURATIONS[0], b"spoiled")
    assert isinstance(await world.controller.step(), InjectCaBundle)
    world.now += timedelta(seconds=1)
    assert isinstance(await world.step(), Pending)


async def test_the_former_ca_is_trusted_until_no_replica_can_serve_its_leaf(world: World) -> None:
    await world.grow_old()
    while "tls" not in world.objects.writes:
        world.now += timedelta(seconds=1)
        await world.step()
    written = world.now
    world.now += OVERLAP - timedelta(seconds=20)
    while isinstance(await world.step(), UpToDate):
        world.now += timedelta(seconds=1)
    assert timedelta() <= world.now - written - OVERLAP <= timedelta(seconds=1)  # certificates count whole seconds


@pytest.mark.thorough
async def test_ten_years_pass_without_a_leaf_that_is_not_trusted(world: World) -> None:
    cas = set()
    while world.now < BEGIN + 3650 * DAY:
        await world.settle()
        cas.add(world.objects.secrets["ca"].data["tls.crt"])
        world.now += 5 * DAY
    assert len(cas) == 15
    assert len(world.objects.writes) < 15 * 14


def _lose(*names: str) -> Callable[[World], None]:
    def damage(world: World) -> None:
        for name in names:
            del world.objects.secrets[name]

    return damage


def _put(name: str, **data: bytes) -> Callable[[World], None]:
    def damage(world: World) -> None:
        former = world.objects.secrets[name]
        changes = {key.replace("_", "."): value for key, value in data.items()}
        world.objects.secrets[name] = Secret(former.type, former.data | changes, former.resource_version)

    return damage


def _swap_ca(world: World) -> None:
    other = certificates.authority(world.now, 365 * DAY)
    world.objects.put_secret("ca", {"tls.crt": other.certificate, "tls.key": other.key})


def _clear_bundles(world: World) -> None:
    for kind, name in CONFIGURATIONS:
        world.objects.put_configuration(kind, name)


FOREIGN = certificates.leaf(certificates.authority(BEGIN, 999 * DAY), PLAN.hosts, BEGIN, 999 * DAY)
DAMAGES = [
    pytest.param(_lose("ca"), ("ca", *BUNDLES, "tls", "ca", *BUNDLES), id="the CA Secret deleted"),
    pytest.param(_lose("tls"), ("tls",), id="the TLS Secret deleted"),
    pytest.param(_lose("ca", "tls"), ("ca", *BUNDLES, "tls", "ca", *BUNDLES), id="both Secrets deleted"),
    pytest.param(_put("ca", tls_key=b"x"), ("ca", *BUNDLES, "tls", "ca", *BUNDLES), id="the CA's key damaged"),
    pytest.param(_put("ca", tls_crt=b"x"), ("ca", *BUNDLES, "tls", "ca", *BUNDLES), id="the CA's certificate damaged"),
    pytest.param(_put("ca", previous_crt=b"x"), ("ca",), id="a former CA that is none"),
    pytest.param(_put("tls", tls_key=b"x"), ("tls",), id="the leaf's key damaged"),
    pytest.param(_put("tls", tls_crt=b""), ("tls",), id="the leaf's certificate emptied"),
    pytest.param(_put("tls", tls_crt=FOREIGN.certificate, tls_key=FOREIGN.key), ("tls",), id="a leaf of another CA"),
    pytest.param(_clear_bundles, BUNDLES, id="both bundles cleared, as by a careless upgrade"),
]


@pytest.mark.parametrize(("damage", "writes"), DAMAGES)
async def test_damage_is_repaired_and_no_served_leaf_loses_trust(
    world: World, damage: Callable[[World], None], writes: tuple[str, ...]
) -> None:
    await world.settle()
    world.now += DAY
    damage(world)
    await world.settle()
    assert tuple(world.objects.writes[4:]) == writes


@pytest.mark.parametrize("seconds", [1, 60, 300, 900])
async def test_the_ca_secret_may_be_lost_in_the_middle_of_a_change(world: World, seconds: int) -> None:
    await world.grow_old()
    end = world.now + timedelta(seconds=seconds)
    while world.now < end:
        await world.step()
        world.now += timedelta(seconds=1 if world.objects.writes[-1] != "tls" else 10)
    del world.objects.secrets["ca"]
    await world.settle()


async def test_a_ca_that_somebody_puts_there_is_taken_up(world: World) -> None:
    await world.settle()
    world.served.clear()  # whoever replaces a CA by hand leaves no way to trust what it signed
    _swap_ca(world)
    await world.settle()
    assert world.objects.writes[4:] == [*BUNDLES, "tls"]


async def test_configurations_that_are_away_hold_nothing_up_and_get_their_bundle_later(world: World) -> None:
    world.objects.configurations.clear()
    await world.settle()
    assert world.objects.writes == ["ca", "tls"]
    world.objects.put_configuration(*CONFIGURATIONS[1])
    await world.settle()
    assert world.objects.writes[2:] == ["nonroot-webhook"]


@pytest.fixture
def provided() -> World:
    """A world with a Provider of Gatekeeper's."""
    world = World(msgspec.structs.replace(NAMES, provider="ours"))
    world.objects.put_configuration("Provider", "ours")
    return world


async def test_gatekeeper_trusts_every_leaf_that_may_be_served(provided: World) -> None:
    """Over a change of the CA: `check` looks after each step."""
    await provided.settle()
    assert provided.objects.writes == ["ca", "ours", *BUNDLES, "tls"]
    await provided.grow_old()
    await provided.settle()
    assert provided.objects.writes.count("ours") == 2


async def test_a_provider_that_takes_no_bundle_holds_nothing_up(
    provided: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Gatekeeper's own webhook may be away; once it takes the bundle, it has it."""
    inject = provided.objects.inject_ca_bundle

    async def refused(configuration: WebhookConfiguration, bundle: bytes) -> None:
        if configuration.name == "ours":
            raise ClusterError("its webhook does not answer")
        await inject(configuration, bundle)

    provided.objects.inject_ca_bundle = refused  # type: ignore[method-assign]
    await provided.settle()
    assert provided.objects.writes == ["ca", *BUNDLES, "tls"]
    assert "Gatekeeper may not trust us: its webhook does not answer" in caplog.text
    provided.objects.inject_ca_bundle = inject  # type: ignore[method-assign]
    await provided.settle()
    assert provided.objects.writes[-1] == "ours"


async def test_a_provider_that_is_not_there_is_nobodys_loss(world: World) -> None:
    world.names = msgspec.structs.replace(NAMES, provider="gone")
    world.controller = world.start()
    await world.settle()
    assert world.objects.writes == ["ca", *BUNDLES, "tls"]


async def test_another_writer_in_between_is_a_conflict_and_nothing_is_overwritten(world: World) -> None:
    foreign: dict[str, bytes] = {"tls.crt": b"somebody", "tls.key": b"else's"}
    world.objects.before = lambda: world.objects.put_secret("ca", foreign)
    with pytest.raises(Conflict):
        await world.controller.step()
    assert world.objects.secrets["ca"].data == foreign


async def test_the_type_of_a_secret_is_kept_because_it_cannot_be_changed(world: World) -> None:
    world.objects.put_secret("tls", {})
    await world.settle()
    assert world.objects.secrets["tls"].type == "Opaque"


async def _lose_everything(world: World) -> None:
    await world.settle()
    world.objects.secrets.clear()
    world.objects.writes.clear()


async def _nothing(world: World) -> None:
    pass


SCENES: dict[str, Callable[[World], Awaitable[None]]] = {
    "a fresh install": _nothing,
    "a change of CA": World.grow_old,
    "both Secrets lost": _lose_everything,
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_controller_killed_at_any_write_is_continued_by_the_next(scene: str, moment: str) -> None:
    undisturbed = (await _play(scene, moment, None)).objects.writes
    assert len(undisturbed) >= 4
    for point in range(1, len(undisturbed) + 1):
        world = await _play(scene, moment, point)
        assert world.objects.writes == undisturbed, f"killed {moment} write {point}"


async def _play(scene: str, moment: str, point: int | None) -> World:
    """Play a scene to its end, killed once at its write number `point`."""
    world = World()
    await SCENES[scene](world)
    calls = 0
    written = world.objects.after

    def before() -> None:
        nonlocal calls
        calls += 1
        if moment == "before" and calls == point:
            raise Killed

    def after() -> None:
        written()
        if moment == "after" and calls == point:
            raise Killed

    world.objects.before, world.objects.after = before, after
    try:
        await world.settle()
    except Killed:
        assert point is not None
        world.controller = world.start()
        world.now += timedelta(seconds=20)
        await world.settle()
    else:
        assert point is None
    return world


async def test_steps_say_why(world: World) -> None:
    step = await world.step()
    assert isinstance(step, WriteSecret)
    assert step.why == "the CA cannot go on: the Secret is missing"
    assert "PRIVATE" not in repr(step)


def test_a_pair_of_another_hosts_is_replaced_when_the_service_is_renamed() -> None:
    ca = certificates.authority(BEGIN, DAY)
    leaf: Pair = certificates.leaf(ca, certificates.service_hosts("old", "web"), BEGIN, DAY)
    with pytest.raises(certificates.Unusable, match=r"does not name hook\.web\.svc, "):
        certificates.check_leaf(leaf, ca, PLAN.hosts, BEGIN)
