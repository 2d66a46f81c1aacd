"""Whatever a registry sends, the answer is an image or a reason: nothing else leaves the client."""

import json
import logging
from typing import Any, NoReturn

import pytest

from deploy.dev.oci import OCI_CONFIG, OCI_MANIFEST, document, image
from deploy.dev.registry import Fault, Login, Redirect, Registry, Status
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import BASE, NAMED, Connect
from webhook.image.source import Image, Unknown

MANIFEST = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": {"mediaType": OCI_CONFIG, "digest": "sha256:" + "0" * 64, "size": 2},
    "layers": [],
}

TYPES: dict[str, list[Any]] = {
    "schemaVersion": [[], {}, 2.0, True, "2"],
    "mediaType": [["x"], {"a": 1}, 5, True],
    "config": [[], 1, "x", {"size": 10**400}, {"platform": []}],
    "layers": [{}, 1, [[]], [{"digest": []}]],
}
CHANGES: list[dict[str, Any]] = [
    *({key: value} for key, values in TYPES.items() for value in values),
    {"manifests": 1},
]


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, "application/json"])
@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_a_manifest_of_other_types(
    registry: Registry, client: Client, media_type: str, change: dict[str, Any]
) -> None:
    """Is invalid."""
    registry.push("team/app:1", document({**MANIFEST, **change}, media_type))
    assert await client.cause(f"{registry.host}/team/app:1") == "invalid"


HOSTS = (
    *("[::1", "host:99999", "host:abc", "host:-1", "", "..", "....", "a b", "a%zz", "é.example", "xn--a", "xn--"),
    *(
        "a" * 64 + ".example",
        "a." * 200 + "example",
        "[fe80::1%25eth0]",
        "[::ffff:1.2.3.4.5]",
        "[v1.x]",
        "1.2.3",
        "127.1",
    ),
    *("2130706433", "0x7f000001", "u:p@host", "host:", ":443", "*.example", "\u3002.example", "%00.example"),
)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("via", ["Location", "realm"])
async def test_a_host_that_nobody_can_have(registry: Registry, connect: Connect, host: str, via: str) -> None:
    """Where a redirect or a challenge names it: nothing is connected to, and it is said who points there."""
    registry.push("team/app:1", NAMED)
    if via == "Location":
        registry.lie(Redirect(f"https://{host}/x"), path="manifests")
    else:
        registry.login = Login({}, anonymous=True, realm=f"https://{host}/token")
    found = await connect().ask(f"{registry.host}/team/app:1")
    assert isinstance(found, Unknown)
    assert found.cause in {"unreachable", "unauthorized"}


@pytest.mark.parametrize("location", ["//[", "\x01", "https:", "x://y", "/\u00e9 \u00e9", "?", "#", "https:////", "//"])
async def test_a_location_that_is_none(registry: Registry, client: Client, location: str) -> None:
    """Is followed as far as it goes."""
    registry.lie(Redirect(location), path="manifests")
    assert await client.cause(f"{registry.host}/team/app:1") in {"unreachable", "notFound"}


@pytest.mark.parametrize(
    "reference",
    ["host:99999/a:1", "host:0/a:1", "a.-b.example/c:1", "[::1]:/a:1", "a" * 64 + ".example/b:1", "[1]/a:1"],
)
async def test_a_reference_whose_host_nobody_can_have(client: Client, reference: str) -> None:
    """The reference itself may be what is wrong."""
    assert await client.cause(reference) in {"invalid", "unreachable"}


@pytest.mark.parametrize(
    "fault",
    [
        *(
            Status(429, {"Retry-After": each})
            for each in ("Mon, 99 Foo", "(((((", "\u0663", "Sat, 21 Nov 99999999999999999 15:00:00 GMT", "9" * 5000)
        ),
        Status(429, {"Retry-After": "Sat, 21 Nov 2026 15:00:00 +99999999999999"}),
        Status(429, {"Date": "x", "Retry-After": "Sat, 21 Nov 2026 15:00:00 GMT"}),
        *(
            Status(401, {"WWW-Authenticate": each})
            for each in (
                "",
                ",",
                "Bearer",
                "Bearer realm=",
                'Bearer realm="https://x',
                'Basic realm="a',
                "=",
                "x" * 7000,
            )
        ),
        *(
            Status(401, {"WWW-Authenticate": each})
            for each in (" " * 7000, "a=b," * 1500, "a " * 3000, 'Bearer realm="\\')
        ),
        Status(200, {"Docker-Content-Digest": "sha256:"}, b"{}"),
        Status(200, {"Docker-Content-Digest": "md5:" + "0" * 32, "Content-Type": OCI_MANIFEST}, b"{}"),
        Status(200, {"Content-Type": "\u00ff; charset=\u00e9"}, b"[" * 100_000),
        Status(204),
        Status(206, {"Content-Range": "bytes 5-1/0"}, b"{}"),
        Status(304),
        Status(599),
        Status(200, {"Content-Type": OCI_MANIFEST}, b"["),
    ],
    ids=lambda fault: str(fault)[:60],
)
async def test_headers_and_statuses(registry: Registry, client: Client, fault: Fault) -> None:
    """Of any kind."""
    registry.push("team/app:1", NAMED)
    registry.lie(fault, path="manifests")
    assert isinstance(await client.ask(f"{registry.host}/team/app:1"), Unknown)


@pytest.mark.parametrize("number", [10**400, 1e400, -1, 2**70], ids=["huge", "infinite", "negative", "long"])
@pytest.mark.parametrize("place", ["created", "User", "diff_ids"])
async def test_a_config_of_other_types(registry: Registry, client: Client, number: float, place: str) -> None:
    """Is invalid, or as good as without what nobody reads."""
    fields: dict[str, Any] = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
    fields |= {"created": number} if place == "created" else {}
    fields["config"] = {"User": number} if place == "User" else {"User": "1"}
    fields["rootfs"] |= {"diff_ids": [number]} if place == "diff_ids" else {}
    content = image(BASE, user="1")
    raw = json.dumps(fields).encode()
    registry.push("team/app:1", content)
    registry._blobs[json.loads(content.manifest.data)["config"]["digest"]] = raw
    assert await client.cause(f"{registry.host}/team/app:1") == "invalid"


async def test_an_error_of_our_own_is_an_answer(
    registry: Registry, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is invalid, counted, and said in the log once a minute; the next image is read."""
    registry.push("team/app:1", NAMED)
    client = connect()

    def broken(*_: object) -> NoReturn:
        raise KeyError("hunter2")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr("webhook.registry.content_store.parse_document", broken)
        for tag in "123":
            registry.push(f"team/app:{tag}", NAMED)
            assert "hunter2" not in await client.detail(f"{registry.host}/team/app:{tag}")
            assert await client.cause(f"{registry.host}/team/app:{tag}") == "invalid"
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1
    assert client.stats.faults == 3
    client.stats.faults = 0
    client.clock.now += 100
    assert isinstance(await client.ask(f"{registry.host}/team/app:1"), Image)
