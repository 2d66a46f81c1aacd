"""What a hostile Pod, image, registry or client can do to a replica: each attack is bounded, and others hardly notice.

Elsewhere: documents and addresses one by one in tests/registry (test_addresses, test_gate, test_documents), archives in
tests/unit/registry/layers/test_tar and test_decompress, reviews of random bytes in tests/unit/admission/test_review.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.resilience.victim import MIB, Streams, Victim, head, result, serving
from tests.support.pods import minimal, tweak
from tests.support.tables import table
from tests.unit.server.test_asgi import review

pytestmark = [pytest.mark.survive, pytest.mark.timeout(300)]

CONNECTIONS = 1000
WHOLE = review(minimal())


@pytest.fixture
async def victim(tmp_path: Path) -> AsyncIterator[Victim]:
    """A server that enforces everywhere."""
    async with serving(tmp_path) as running:
        yield running


def _containers(number: int, image: str) -> bytes:
    containers = [{"name": f"c{each}", "image": image.format(each)} for each in range(number)]
    return review(tweak(minimal(), {"spec.containers": containers}))


def _spoiled(document: str, what: str, by: str) -> bytes:
    assert what in document
    return document.replace(what, by, 1).encode("utf-8", "surrogatepass")


TEXT = WHOLE.decode()
NEST = 3 * MIB
DOCUMENTS = {
    "10,000 containers of one image": _containers(10_000, "registry.invalid/app:1"),
    "10,000 containers of as many images": _containers(10_000, "registry.invalid/app:{}"),
    "7 MiB of annotations": review(tweak(minimal(), {"metadata.annotations": {"a": "x" * (7 * MIB - 700)}})),
    "half a million annotations": review(
        tweak(minimal(), {"metadata.annotations": {f"{each:x}": "" for each in range(500_000)}})
    ),
    "lists nested 3 million deep": _spoiled(TEXT, '"spec":{', f'"spec": {{"x": {"[" * NEST}{"]" * NEST}, '),
    "objects nested a million deep": _spoiled(
        TEXT, '"spec":{', '"spec": {"x": ' + '{"a":' * MIB + "1" + "}" * MIB + ", "
    ),
    "a key given twice": _spoiled(TEXT, '"spec":{', '"spec": {"containers": [], '),
    "a lone surrogate": _spoiled(TEXT, '"image":"', '"image":"\\ud800'),
    "a raw surrogate": _spoiled(TEXT, '"image":"', '"image":"\ud800'),
    "the number 1e999": _spoiled(TEXT, '"spec":{', '"spec": {"securityContext": {"runAsUser": 1e999}, '),
    "a number of a million digits": _spoiled(
        TEXT, '"spec":{', f'"spec": {{"securityContext": {{"runAsUser": {"9" * MIB}}}, '
    ),
}


@table("body", DOCUMENTS)
async def test_a_hostile_review(victim: Victim, body: bytes, request: pytest.FixtureRequest) -> None:
    """It is refused, or answered as any other; soon, and in a few words."""
    async with victim.attacked(request.node.callspec.id) as answers:
        status, answer = await victim.review(body)
        said = answer["text"] if status != 200 else result(answer["response"])
        answers.append(f"{status}: {said[:120].strip()}")
        assert status in {200, 400}
        assert len(json.dumps(answer)) < 100_000


async def test_a_flood_of_large_reviews(victim: Victim) -> None:
    """200 of them at once are 1.4 GB: what does not fit is refused, not held, and each is told so."""
    body = DOCUMENTS["7 MiB of annotations"]
    async with victim.attacked("200 reviews of 7 MiB at once") as answers:
        found = await asyncio.gather(*(victim.review(body, seconds=120) for _ in range(200)))
        codes = [status for status, _ in found]
        responses = [answer["response"] for _, answer in found]
        refused = [each["status"] for each in responses if not each["allowed"]]
        turned_away = [each["message"] for each in refused if "no room" in each["message"]]
        answers.append(
            f"{len(found)} × {set(codes)}, {len(turned_away)} of them 429 inside the review: {turned_away[0]}"
        )
        assert set(codes) == {200}
        assert {each["code"] for each in refused if "no room" in each["message"]} == {429}


async def test_slow_requests(victim: Victim) -> None:
    """Connections that never finish a request are closed, long before they are too many."""
    endless = head(len(WHOLE)).removesuffix(b"\r\n")
    async with victim.attacked(f"{CONNECTIONS} requests that never end") as answers:
        before = victim.files
        opened = await victim.connected(CONNECTIONS)
        for _, writer in opened:
            writer.write(endless)
        answers.append(await _given_up(victim, before, opened))


async def test_half_open_tls(victim: Victim) -> None:
    async with victim.attacked(f"{CONNECTIONS} connections that never begin TLS") as answers:
        before = victim.files
        opened = await victim.connected(CONNECTIONS, tls=False)
        answers.append(await _given_up(victim, before, opened))


async def _given_up(victim: Victim, before: int, opened: Streams) -> str:
    """Wait until the server has closed all of them."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while victim.files > before + 20:
        assert loop.time() < began + 60, f"{victim.files - before} are still open"
        await asyncio.sleep(0.5)
    for _, writer in opened:
        writer.close()
    return f"closed after {loop.time() - began:.0f} s"


HERE = """
127.0.0.1 127.1 127.0.1 2130706433 0x7f000001 0x7f.1 0177.0.0.1 017700000001 0.0.0.0 0 localhost LOCALHOST localhost.
[::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [0:0:0:0:0:0:0:1] ①27.0.0.1 127。0。0。1
user@127.0.0.1 user:password@127.0.0.1 127.0.0.1%00 127.0.0.1%0d%0aX-Evil
"""
METADATA = "169.254.169.254 [fd00:ec2::254] [fe80::1] 100.100.100.200 168.63.129.16 metadata.google.internal"
TRICKS = (
    "127.0.0.1:{port}\r\nHost: evil/app:1",
    "127.0.0.1:{port}/../app:1",
    "127.0.0.1:{port}/app:1#x",
    "//127.0.0.1/app",
)


async def test_images_that_name_this_machine(victim: Victim) -> None:
    """In every notation: nobody is connected to, and the Pod is told why its image cannot be read."""
    heard = 0

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        heard += 1
        writer.close()

    async with await asyncio.start_server(listen, ["127.0.0.1", "::1"], 0) as server:
        ports = {each.getsockname()[1] for each in server.sockets}
        references = [f"{host}:{port}/app:1" for host in HERE.split() for port in ports]
        references += [f"{host}/app:1" for host in METADATA.split()]
        references += [trick.format(port=port) for trick in TRICKS for port in ports]
        async with victim.attacked(
            f"{len(references)} image references to this machine and to metadata services"
        ) as answers:
            for reference in references:
                response = await victim.ask(reference)
                while response.get("status", {}).get("code") == 429:  # a name that takes long to resolve
                    await asyncio.sleep(0.2)
                    response = await victim.ask(reference)
                assert "could not be read" in result(response), (reference, response)
            answers.append(f"{heard} connections")
    assert heard == 0
