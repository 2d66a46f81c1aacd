"""Readers of what strangers send, with what they may say about it: for fuzzing.

    python -m tests.support.fuzzing [TARGET …]    # the long form of each, guided by coverage: `make test-fuzz`

The long form needs atheris, which has no wheel for every Python and is therefore no dependency. Its figures are kept in
`tests/resilience/results.md` where NONROOT_KEEP_FIGURES is set. Ordinary tests run each target over its corpus and some
thousand mutations of it. A finding is any exception but those that a target names, and whatever takes more than ten seconds.

It has found a key of a pull secret that took for ever; the mutations alone, a number of 5000 digits in JSON that ended
`nonroot check`.
"""

import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from deploy.dev import oci
from deploy.dev.oci import DOCKER_LIST, OCI_INDEX
from tests.resilience.figures import Fact, record
from tests.support import pods
from webhook.admission import review
from webhook.admission.handler import Admission
from webhook.check.manifest import objects
from webhook.check.manifest.parser import MalformedYaml, documents
from webhook.check.practices import BuildContext, dockerfile
from webhook.dockerfile import Malformed, evaluate, rules
from webhook.errors import InvalidSetting, MalformedImage, MalformedReview
from webhook.image.config import parse_config
from webhook.image.source import NotExamined
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents, Metadata, NonRootPolicy, PolicySpec
from webhook.registry import certs_d
from webhook.registry.auth.docker_config import DockerConfig
from webhook.registry.auth.keychain import Keychain, MalformedKeychain, named_helpers
from webhook.registry.auth.token import Credential, TokenCache, authorised
from webhook.registry.manifest import ACCEPT, Index, choose, parse_document
from webhook.registry.transport.messages import RegistryError, Request, Response, parse_url, refusal, retry_after
from webhook.workload import lengths, workload

IMAGE = oci.image(oci.layer(oci.file("x")), user="app:app")
INDEX = oci.index(IMAGE, oci.image(architecture="arm", variant="v7"))
_ADMISSION = Admission(
    PolicySnapshot(Documents((NonRootPolicy(Metadata("strict"), PolicySpec(mode="Enforce")),))), NotExamined()
)
_TYPES = (
    *ACCEPT.split(", "),
    "",
    "application/json",
    "text/html",
    "application/vnd.docker.distribution.manifest.v1+json",
)
_CHALLENGE = 'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull"'
_HOSTS = """server = "https://registry.example"
[host."https://mirror.example:5000/v2/x"]
capabilities = ["pull", "resolve"]
ca = ["a.crt"]
client = [["a.cert", "a.key"]]
override_path = true
dial_timeout = "1s"
"""
_CONFIG = {
    "auths": {"a.example/x": {"auth": "dTpw", "identitytoken": "t"}, "https://index.docker.io/v1/": {"username": "u"}},
    "credHelpers": {"b.example": "x"},
    "credsStore": "y",
}


SLOW = 100_000  # executions of what takes a millisecond or more


class NoDockerfile(Exception):
    """The text is no Dockerfile that BuildKit builds."""


class Target(msgspec.Struct, frozen=True):
    """A reader: what it is given to begin with, the errors by which it refuses, and how often its long form runs it."""

    read: Callable[[bytes], object]
    corpus: tuple[bytes, ...]
    refusals: tuple[type[Exception], ...]
    executions: int = 500_000

    def run(self, data: bytes) -> str:
        """Read it; how it was refused, or nothing."""
        try:
            self.read(data)
        except self.refusals as refusal:
            return f"{type(refusal).__name__} {re.sub('[0-9]+|`.*', '', str(refusal))[:40]}"
        return ""


def _document(data: bytes) -> object:
    return parse_document(data[1:], _TYPES[data[0] % len(_TYPES)]) if data else None


def _index(data: bytes) -> None:
    """An index by whichever media type, and what nodes would choose of it."""
    found = _document(data)
    if isinstance(found, Index):
        for architectures in (frozenset[str](), frozenset({"amd64", "arm64"}), frozenset({"arm"})):
            chosen = choose(found.manifests, "linux", architectures)
            assert {*chosen.chosen, *chosen.undecided} <= {*found.manifests}


def _header(data: bytes) -> str:
    """Bytes as aiohttp gives out a header."""
    return re.sub(r"[\r\n\0]", "", data.decode("utf-8", "surrogateescape"))


def _log_in(data: bytes) -> None:
    """A whole log-in: the challenge, the token service's answer behind a line end, and what comes then."""
    challenge, _, body = data.partition(b"\n")
    request = Request("GET", "https://a.example/v2/a/b/manifests/1", "a.example", 100)
    flow = authorised(request, "a/b", Credential("u", "p"), TokenCache(time.monotonic, lambda _: False))
    answers = [Response(401, {"www-authenticate": (_header(challenge),)}), Response(200, {}, body), Response(200, {})]
    next(flow)
    with suppress(StopIteration):
        for answer in answers:
            parse_url(flow.send(answer).url, "a.example")


def _headers(data: bytes) -> None:
    """The headers of a refusal, and where it points."""
    lines = [*data.split(b"\n"), b"", b"", b""]
    text, date, location = map(_header, lines[:3])
    response = Response(429, {"retry-after": (text,), "date": (date,)}, own=False, url="https://b.example/")
    seconds = retry_after(response)
    assert seconds is None or seconds >= 0
    refusal(response, "reading")
    url = parse_url(location, "a.example", "https://a.example/v2/")
    assert parse_url(url.text, "a.example") == url


def _host_file(data: bytes) -> None:
    folder = Path(tempfile.gettempdir()) / "nonroot-fuzzing" / "a.example"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.toml").write_bytes(data)
    certs_d.load(folder.parent, frozenset())


def _docker_config(data: bytes) -> None:
    keychain = Keychain()
    keychain.add_config(data)
    keychain.find("a.example/x/y")
    keychain.find("docker.io/library/x")
    named_helpers(data)
    DockerConfig(lambda: data)


def _review(data: bytes) -> None:
    """A review, its workload, and its answer in Enforce, whose patch and message are JSON again."""
    decoded = review.decode(data)
    found = workload.decode(decoded.kind.kind, decoded.object)
    if found is not None:
        lengths.bounded(found)
    outcome = asyncio.run(_ADMISSION.review(decoded, "validate"))
    json.loads(outcome.body)
    assert "failed to evaluate" not in outcome.body.decode()


def _kubernetes_yaml(data: bytes) -> None:
    """A manifest as `nonroot check` reads it."""
    for root in documents(data.decode()):
        for each in objects.objects(root):
            objects.workload(each)
            list(objects.found_by_shape(each))


def _dockerfile(data: bytes) -> None:
    """A Dockerfile, its rules and its table."""
    found = evaluate(data.decode("utf-8", "surrogateescape"))
    if isinstance(found, Malformed):
        raise NoDockerfile(found.reason)
    rules.check(found)
    dockerfile.rows(found, BuildContext())


TARGETS: dict[str, Target] = {
    "manifest": Target(
        _document,
        tuple(bytes([number]) + content.manifest.data for number in range(len(_TYPES)) for content in (IMAGE, INDEX)),
        (MalformedImage,),
    ),
    "index": Target(
        _index,
        tuple(bytes([_TYPES.index(each)]) + INDEX.manifest.data for each in (OCI_INDEX, DOCKER_LIST, "")),
        (MalformedImage,),
    ),
    "config": Target(parse_config, tuple(blob.data for blob in IMAGE.blobs[:1]), (MalformedImage,)),
    "log-in": Target(
        _log_in,
        (
            f'{_CHALLENGE}\n{{"token":"t","expires_in":300,"access_token":"t"}}'.encode(),
            f'Basic realm="x", Negotiate, {_CHALLENGE}\n{{"token":null,"expires_in":"1e5"}}'.encode(),
            b'Digest qop="auth", nonce="\\"", Basic\n[]',
        ),
        (RegistryError,),
    ),
    "headers": Target(
        _headers,
        (
            b"30\n\nhttps://b.example:5000/x?y=%20#z",
            b"Sat, 21 Nov 2026 15:00:00 GMT\nSat, 21 Nov 2026 14:59:00 GMT\n../../[::1]/x",
            b"1.5\nx\n//[fd00::1]:443/x",
        ),
        (RegistryError,),
    ),
    "hosts.toml": Target(_host_file, (_HOSTS.encode(),), (InvalidSetting,), SLOW),
    "docker config": Target(_docker_config, (json.dumps(_CONFIG).encode(),), (MalformedKeychain, InvalidSetting)),
    "review": Target(
        _review,
        (
            pods.review_body(pods.minimal()),
            pods.review_body(
                pods.tweak(
                    pods.minimal(),
                    {
                        "spec.securityContext": {"runAsUser": 5, "fsGroup": 7, "supplementalGroups": [1]},
                        "spec.initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always"}],
                        "spec.volumes": [{"name": "v", "secret": {"defaultMode": 256}}, {"name": "p", "projected": {}}],
                        "spec.nodeSelector": {"kubernetes.io/os": "linux"},
                    },
                )
            ),
        ),
        (MalformedReview,),
        SLOW,
    ),
    "Kubernetes YAML": Target(
        _kubernetes_yaml,
        (
            (
                b"apiVersion: v1\nkind: List\nitems:\n- &a\n  apiVersion: v1\n  kind: Pod\n  metadata: {name: x}\n  "
                b"spec: {containers: [{name: a, image: 'x', securityContext: {runAsUser: 0o17}}]}\n- <<: *a\n"
            ),
            b"a: |+\n  b\n\n---\napiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: []}}}\n...\n",
            b'{"apiVersion":"argoproj.io/v1","kind":"Workflow","spec":{"templates":[{"container":{"image":"x"}}]}}',
        ),
        (MalformedYaml, MalformedReview, UnicodeDecodeError),
        SLOW,
    ),
    "Dockerfile": Target(
        _dockerfile,
        (
            b"# escape=`\nARG V=1\nFROM a:${V:-2} AS b\nENV U=app\nRUN useradd -u 5 $U && `\n  chown app /x\nUSER $U:0\n",
            b"FROM b\nONBUILD USER x\nRUN <<E\nadduser -D app\nE\nCOPY --chown=1:2 --from=b a /b\nUSER ${X%%*a}\n",
        ),
        (NoDockerfile,),
        SLOW,
    ),
}

_WORDS = [
    *(b"null", b"true", b"[]", b"{}", b'""', b"0", b"-1", b"2.0", b"1e999", b"NaN", b"9" * 30, b"9" * 5000, b"\\ud800"),
    *(
        b"\\u0000",
        b"\xff",
        b"\xc3\xa9",
        b"\xe2\x84\xaa",
        b"[::1",
        b":99999",
        b"xn--a",
        b"%zz",
        b"//",
        b"..",
        b"\0",
        b"@",
    ),
    *(b'"', b"'", b"\\", b"=", b",", b" ", b"\n", b"[" * 2000, b'{"a":' * 500, b"a" * 300),
]


def mutated(data: bytes, corpus: Sequence[bytes], chance: random.Random) -> bytes:
    """Some changes of one input: bytes, words, values of JSON, and pieces of other inputs."""
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 1, 1, 4, 16, 64)))
        tokens = [*re.finditer(rb'"(?:[^"\\]|\\.)*"|-?[0-9.]+|[a-z]+', data)]
        kind = chance.randrange(5)
        if kind == 0 and tokens:
            start, end = chance.choice(tokens).span()
        if kind <= 1:
            new = chance.choice(_WORDS)
        elif kind == 2:
            new = bytes([chance.randrange(256)])
        elif kind == 3:
            other = chance.choice(corpus)
            place = chance.randrange(len(other) + 1)
            new = other[place : place + chance.randrange(40)]
        else:
            new = data[start:end] * chance.choice((0, 2, 3))
        data = data[:start] + new + data[end:]
    return data[:20_000]


def executed(target: Target, count: int, seed: int = 1) -> int:
    """Run a target over its corpus and `count` mutations of it, which keep what was refused in a new way. How many ways."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable mixture, no secret
    corpus, ways = list(target.corpus), {target.run(data) for data in target.corpus}
    for _ in range(count):
        data = mutated(chance.choice(corpus), corpus, chance)
        way = target.run(data)
        if way not in ways:
            ways.add(way)
            corpus.append(data)
    return len(ways)


# Under atheris a module counts only if it is imported so. libFuzzer ends the process.
_GUIDED = """
import sys, atheris
name, runs, folder = sys.argv[1:]
with atheris.instrument_imports(include=["webhook"]):
    from tests.support.fuzzing import TARGETS
atheris.Setup([name, f"-runs={runs}", "-max_len=4096", "-timeout=10", folder], TARGETS[name].run)
atheris.Fuzz()
"""


def main(names: Sequence[str]) -> int:
    """Every target in a process of its own: how many executions that were in how many seconds, and how many failed."""
    failed = 0
    for name in names or TARGETS:
        with tempfile.TemporaryDirectory() as folder:
            for number, data in enumerate(TARGETS[name].corpus):
                (Path(folder) / f"{number}").write_bytes(data)
            command = [sys.executable, "-c", _GUIDED, name, str(TARGETS[name].executions), folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            kept = len(list(Path(folder).iterdir()))
        last = re.findall(r"Done ([0-9]+) runs in ([0-9]+) second", done.stderr)
        failed += not last
        if last:
            runs, seconds = map(int, last[0])
            fact = Fact(f"fuzzing: {name}", f"{runs:,} executions in {seconds} s, {kept} inputs kept, nothing found")
            record(fact)
        print(name, fact.measured if last else done.stderr[-3000:], flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
