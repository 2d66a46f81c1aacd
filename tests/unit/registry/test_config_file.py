"""The file of --registry-config: what it means, what is refused, and the order in which credentials are tried."""

import base64
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from deploy.dev.registry import Login, Registry
from tests.support.authority import Authority
from tests.unit.registry import stubs
from tests.unit.registry.auth.test_credential_providers import answer, provider
from tests.unit.registry.samples import NAMED, Secrets, docker_config, secret
from tests.unit.registry.stubs import Stub
from webhook.errors import InvalidSetting
from webhook.image.source import Image, Query, Unknown
from webhook.registry import config_file
from webhook.registry.auth.keychain import PullSecrets
from webhook.registry.certs_d import HostFiles
from webhook.registry.client import RegistryClient
from webhook.registry.config_file import Access, RegistryConfig, load
from webhook.registry.settings import ClientCertificate, Host, Lives, RegistrySettings, Timeouts


def written(folder: Path, **fields: Any) -> Path:
    """The file."""
    path = folder / "registries.yaml"
    path.write_text(yaml.safe_dump(fields))
    return path


def test_without_a_file_only_the_flags_count(tmp_path: Path) -> None:
    """An empty file says nothing either."""
    assert load(None) == Access()
    assert load(None, ["A.lan:5000"]) == Access(RegistrySettings(insecure=frozenset({"a.lan:5000"})))
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load(tmp_path / "empty.yaml") == Access()


def test_every_field_arrives(tmp_path: Path) -> None:
    """Paths are relative to the file; the flags' registries are added."""
    (tmp_path / "ca.pem").write_text("PEM")
    (tmp_path / "config.json").write_text("{}")
    Stub(tmp_path / "bin" / "ecr")
    kind = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
    (tmp_path / "providers.yaml").write_text(yaml.safe_dump({**kind, "providers": [provider()]}))
    times = {"connect": 1, "idle": 2, "document": 3, "lookUp": 4, "layer": 5, "credentials": 6}
    access = load(
        written(
            tmp_path,
            insecure=["A.lan:5000"],
            allowed=["Harbor.corp"],
            registries=["docker.io"],
            mirrors={"docker.io": ["m.corp", "n.corp:5000"]},
            authorities={"Harbor.corp": "ca.pem"},
            authority="ca.pem",
            clientCertificates={"Harbor.corp": {"certificate": "tls.crt", "key": "/k/tls.key"}},
            dockerConfig="config.json",
            credentialHelpers="bin",
            credentialProviders={"config": "providers.yaml", "binDirectory": "bin"},
            deniedNetworks=["10.96.0.0/12"],
            proxy=True,
            timeouts=times,
            tagLife=60,
        ),
        ["b.lan"],
    )
    assert access.settings == RegistrySettings(
        insecure=frozenset({"a.lan:5000", "b.lan"}),
        allowed=frozenset({"harbor.corp"}),
        registries=frozenset({"docker.io"}),
        denied_networks=("10.96.0.0/12",),
        authorities={"harbor.corp": "PEM"},
        authority="PEM",
        client_certificates={"harbor.corp": ClientCertificate(tmp_path / "tls.crt", Path("/k/tls.key"))},
        hosts={"docker.io": (Host("m.corp"), Host("n.corp:5000"), Host())},
        proxy=True,
        timeouts=Timeouts(connect=1, idle=2, document=3, look_up=4, layer=5, credentials=6),
        lives=Lives(tag=60),
    )
    assert [type(each).__name__ for each in access.credentials] == ["DockerConfig", "Providers"]


def test_host_files_arrive(tmp_path: Path) -> None:
    """With what the fields add about other hosts."""
    folder = tmp_path / "certs.d" / "a.io"
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("PEM")
    (tmp_path / "b.pem").write_text("other")
    settings = load(written(tmp_path, certsDirectory="certs.d", authorities={"b.io": "b.pem"})).settings
    expected = HostFiles({"a.io": (Host(),)}, {"a.io": "PEM", "b.io": "other"}, {})
    assert HostFiles(settings.hosts, settings.authorities, settings.client_certificates) == expected  # type: ignore[arg-type]
    with pytest.raises(InvalidSetting, match=r"the TLS of a\.io is in certsDirectory as well"):
        load(written(tmp_path, certsDirectory="certs.d", authorities={"A.io": "b.pem"}))
    with pytest.raises(InvalidSetting, match="mirrors and certsDirectory both say whom to ask"):
        load(written(tmp_path, certsDirectory="certs.d", mirrors={"a.io": ["b.io"]}))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"mirror": {}}, "there is no field 'mirror'; did you mean mirrors"),
        ({"timeouts": {"look_up": 1}}, "timeouts: .*there is no field 'look_up'; did you mean lookUp"),
        ({"timeouts": {"connect": 0}}, "timeouts.connect: must be a number > 0"),
        ({"insecure": ["http://a.lan"]}, r"insecure\[0\]: must be a string matching regex"),
        ({"insecure": ["a.lan\n"]}, r"insecure\[0\]: must be a string matching regex"),
        ({"mirrors": {"docker.io": []}}, r"mirrors\[...\]: must be a list of length >= 1"),
        ({"mirrors": {"docker.io/library": ["m"]}}, "mirrors"),
        ({"authorities": {"a.io": "gone.pem"}}, "cannot read .*gone.pem: No such file"),
        ({"certsDirectory": "gone"}, "cannot read the host files in .*gone"),
        ({"dockerConfig": "gone.json"}, "cannot read .*gone.json"),
        ({"dockerConfig": "registries.yaml"}, "the docker config cannot be used: it is not JSON"),
        ({"credentialHelpers": "bin"}, "credentialHelpers are for a dockerConfig"),
        ({"credentialProviders": {"config": "c"}}, "credentialProviders: .*the field binDirectory is missing"),
        ({"deniedNetworks": ["10.96.0.0/99"]}, "deniedNetworks: '10.96.0.0/99' is no network"),
        ({"tagLife": -1}, "tagLife: must be a number >= 0"),
        ({"proxy": "yes"}, "proxy: must be true or false"),
    ],
)
def test_what_is_wrong_is_refused_with_file_and_field(fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    """Before anything starts."""
    with pytest.raises(InvalidSetting, match=says):
        load(written(tmp_path, **fields))


def test_what_is_no_file_of_ours_is_refused(tmp_path: Path) -> None:
    """Whatever it is."""
    path = tmp_path / "file"
    for raw, says in (
        (b"a: [", "is no YAML"),
        (b"\xff", "is no text"),
        (b"- a", "the document: must be a mapping, not"),
        (b"&a [*a]", "the document: must be a mapping, not"),
        (b"1: 2", "a key of the document: must be a string"),
        (b"[" * 1_000, "is nested too deeply"),
    ):
        path.write_bytes(raw)
        with pytest.raises(InvalidSetting, match=says):
            load(path)
    with path.open("wb") as file:
        file.truncate(9 * 1024 * 1024)
    with pytest.raises(InvalidSetting, match="is larger than 8 MiB"):
        load(path)


def test_the_example_in_the_docstring_is_every_field() -> None:
    """And each as the file takes it."""
    text = str(config_file.__doc__).partition("\n\n")[2].partition("\n\nEvery field")[0]
    document = yaml.safe_load(text)
    assert list(document) == list(RegistryConfig.__struct_encode_fields__)
    msgspec.convert(document, RegistryConfig)


# Credentials in their order.


@pytest.fixture
def closed(registry: Registry) -> Registry:
    """A registry that nobody may read from whom the tests do not let in."""
    registry.push("team/app:1", NAMED)
    registry.login = Login({"nobody": "x"}, scheme="Basic")
    return registry


def access(folder: Path, host: str, **more: Any) -> Access:
    """A docker config with a helper and an entry of its own, and a provider."""
    (folder / "docker.json").write_bytes(docker_config(host, "file", "f")[:-1] + b', "credsStore": "h"}')
    Stub(folder / "docker-credential-h", answer=json.dumps({"Username": "helper", "Secret": "h"}))
    Stub(folder / "ecr", answer=answer(key=host))
    kind = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
    entry = provider(matchImages=[host])
    (folder / "providers.yaml").write_text(yaml.safe_dump({**kind, "providers": [entry]}))
    fields: dict[str, Any] = {
        "insecure": [host],
        "dockerConfig": "docker.json",
        "credentialHelpers": ".",
        "credentialProviders": {"config": "providers.yaml", "binDirectory": "."},
    }
    return load(written(folder, **{**fields, **more}))


async def ask(given: Access, reference: str, secrets: PullSecrets | None = None) -> Image | Unknown:
    """What a fresh client finds."""
    async with aclosing(RegistryClient(given.settings, secrets, credentials=given.credentials)) as client:
        return await client.find(Query(reference, namespace="a", pull_secrets=("s",), budget=20.0))


async def test_the_pods_own_go_first_then_the_nodes_way(closed: Registry, tmp_path: Path) -> None:
    """Each in turn until one is let in: pull secret, helper, docker config, provider."""
    reference, order = f"{closed.host}/team/app:1", ["pod", "helper", "file", "AWS"]
    pod = Secrets(s=secret(closed.host, "pod", "p"))
    for number, (user, password) in enumerate(zip(order, "phfp", strict=True)):
        closed.requests.clear()
        closed.login = Login({user: password}, scheme="Basic")
        assert isinstance(await ask(access(tmp_path, closed.host), reference, pod), Image)
        sent = [each.authorization.removeprefix("Basic ") for each in closed.requests if each.authorization]
        users = list(dict.fromkeys(base64.b64decode(each).decode().partition(":")[0] for each in sent))
        assert users == order[: number + 1]


async def test_a_provider_that_fails_is_the_reason_once_nobody_is_let_in(closed: Registry, tmp_path: Path) -> None:
    """And no reason at all for an image that somebody else's credentials open."""
    reference = f"{closed.host}/team/app:1"
    given = access(tmp_path, closed.host)
    Stub(tmp_path / "ecr", stubs.FAILS)
    found = await ask(given, reference)
    assert found == Unknown("unauthorized", "the credential provider ecr failed: ecr ended with exit code 1; run it by hand to see why")  # fmt: skip  # noqa: E501
    closed.login = Login({"file": "f"}, scheme="Basic")
    assert isinstance(await ask(given, reference), Image)


async def test_a_registry_that_is_not_listed_is_asked_nothing(closed: Registry, tmp_path: Path) -> None:
    """Nor is any program about it."""
    given = access(tmp_path, closed.host, registries=["quay.io"])
    found = await ask(given, f"{closed.host}/team/app:1")
    assert isinstance(found, Unknown)
    assert "not among the registries that may be asked" in found.detail
    assert closed.requests == []
    assert not (tmp_path / "ecr.calls").exists()


async def test_a_registry_over_tls_by_fields_alone(tmp_path: Path) -> None:
    """CA, address and a mirror before it."""
    authority = Authority(tmp_path)
    async with Registry(tls=authority.context) as secure:
        secure.push("team/app:1", NAMED)
        fields = {
            "allowed": [secure.host],
            "authorities": {secure.host: "tls.crt"},
            "mirrors": {"home.invalid": [secure.host]},
        }
        given = load(written(tmp_path, **fields))
        for registry in (secure.host, "home.invalid"):
            assert isinstance(await ask(given, f"{registry}/team/app:1"), Image)
