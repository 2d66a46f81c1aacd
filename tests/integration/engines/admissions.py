"""Many Pods created at an API server as dry runs, over connections that are kept: who was let in, and how long each took."""

import json
import statistics
import time
from base64 import b64decode
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import msgspec

from tests.e2e.target import Target
from tests.support.pods import Object

ADMISSIONS_AT_ONCE = 4


class Admissions(msgspec.Struct, frozen=True):
    """The names of Pods that were not answered as they should be, and the median of an answer in milliseconds."""

    wrong: list[str]
    median: float


def admissions(target: Target, namespace: str, pods: Sequence[tuple[Object, bool]]) -> Admissions:
    """Create every Pod, as a dry run; with each stands whether it is to be let in."""
    shares = [pods[first::ADMISSIONS_AT_ONCE] for first in range(ADMISSIONS_AT_ONCE)]
    with ThreadPoolExecutor(ADMISSIONS_AT_ONCE) as threads:
        answers = [
            each for share in threads.map(lambda share: _create(target, namespace, share), shares) for each in share
        ]
    return Admissions(
        [name for name, right, _ in answers if not right], 1000 * statistics.median(s for *_, s in answers)
    )


def _create(target: Target, namespace: str, pods: Sequence[tuple[Object, bool]]) -> list[tuple[str, bool, float]]:
    """Name, whether it was answered right, and seconds, of each."""
    found = []
    with closing(_connection(target)) as connection:
        for pod, good in pods:
            began = time.perf_counter()
            connection.request(
                "POST",
                f"/api/v1/namespaces/{namespace}/pods?dryRun=All",
                json.dumps(pod),
                {"Content-Type": "application/json"},
            )
            reply = connection.getresponse()
            reply.read()
            right = reply.status == (201 if good else 403)
            found.append((pod["metadata"]["name"], right, time.perf_counter() - began))
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
