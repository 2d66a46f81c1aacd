"""Many Pods created at an API server as dry runs, over connections that are kept: who was let in, and how long each took."""

import json
import statistics
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from tests.e2e.target import Target, eventually
from tests.integration.engines.conftest import UID, Images, Ours, pod
from tests.integration.engines.hooks import created, for_a_while, hook, namespace
from tests.support.pods import Object

AT_ONCE, TURNS = 4, 10


def a_thousand(images: Images) -> list[tuple[Object, bool]]:
    """Pods, a quarter each with a named USER, as root, with a number and of no image; with each stands whether to let it in."""
    given = [(images.named, True), (images.root, False), (images.numeric, True), (images.missing, False)]
    return [(pod(image, f"web-{number}"), good) for number, (image, good) in enumerate(given * 250)]


def everybody(pods: Sequence[tuple[Object, bool]]) -> list[tuple[Object, bool]]:
    """The same Pods, all to be let in."""
    return [(each, True) for each, _ in pods]


def in_turns(target: Target, pods: Mapping[str, Sequence[tuple[Object, bool]]]) -> dict[str, float]:
    """Create the Pods of each namespace; all are answered as they should be. The median answer there in milliseconds.

    Each namespace has a tenth of its Pods in turn, so that a machine that is busy for a while is so for all of them.
    """
    seconds: dict[str, list[float]] = {each: [] for each in pods}
    wrong = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for turn in range(TURNS):
            for where, given in pods.items():
                mine = given[turn::TURNS]
                shares = [mine[first::AT_ONCE] for first in range(AT_ONCE)]
                for share in threads.map(partial(_create, target, where), shares):
                    seconds[where] += [each for *_, each in share]
                    wrong += [(where, name) for name, right, _ in share if not right]
    assert wrong == []
    return {where: 1000 * statistics.median(each) for where, each in seconds.items()}


@contextmanager
def without_an_engine(target: Target, images: Images, ours: Ours, engine: str) -> Iterator[tuple[str, str]]:
    """Two namespaces: one where our /mutate is called and no other webhook, and one where none is."""
    with_ours, without = f"ours-beside-{engine}", f"none-beside-{engine}"
    for each in (with_ours, without):
        namespace(target, each, each)
    with for_a_while(target, hook(f"{ours.url}/mutate", ours.ca.decode(), with_ours, "Mutating")):

        def patched() -> bool:
            spec = created(target, with_ours, pod(images.named))
            return spec is not None and spec["containers"][0]["securityContext"].get("runAsUser") == UID

        eventually(patched, "our hook to be called")
        yield with_ours, without


def _create(target: Target, namespace: str, pods: Sequence[tuple[Object, bool]]) -> list[tuple[str, bool, float]]:
    """Name, whether it was answered right, and seconds, of each."""
    found = []
    with closing(_connection(target)) as connection:
        connection.connect()
        for given, good in pods:
            began = time.perf_counter()
            connection.request(
                "POST",
                f"/api/v1/namespaces/{namespace}/pods?dryRun=All",
                json.dumps(given),
                {"Content-Type": "application/json"},
            )
            reply = connection.getresponse()
            body = reply.read()  # Gatekeeper refuses with 403, Kyverno with 400
            right = reply.status == 201 if good else reply.status in {400, 403} and b"denied the request" in body
            found.append((given["metadata"]["name"], right, time.perf_counter() - began))
    return found


def _connection(target: Target) -> HTTPSConnection:
    """To the API server, as the kubeconfig's user."""
    config = json.loads(target.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    user, server = config["users"][0]["user"], config["clusters"][0]["cluster"]
    context = create_default_context(cadata=b64decode(server["certificate-authority-data"]).decode())
    with TemporaryDirectory() as folder:
        files = Path(folder, "crt"), Path(folder, "key")
        for file, name in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
            file.write_bytes(b64decode(user[name]))
        context.load_cert_chain(*files)
    address = urlsplit(server["server"])
    return HTTPSConnection(str(address.hostname), address.port, timeout=30, context=context)
