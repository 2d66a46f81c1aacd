"""The registry configuration file: `nonroot serve --registry-config FILE`.

    insecure: [registry.lan:5000]           # plain HTTP, at whatever address
    allowed: [harbor.corp]                  # a loopback, link-local or Service address, over verified TLS
    registries: [docker.io, harbor.corp]    # no others are asked; as image names say it, docker.io for Docker Hub
    mirrors: {docker.io: [mirror.corp]}     # asked before the registry itself
    authorities: {harbor.corp: harbor.pem}  # CAs to trust there, beside the system's
    authority: proxy-ca.pem                 # a CA to trust at every host: that of a proxy which inspects TLS
    clientCertificates: {harbor.corp: {certificate: tls.crt, key: tls.key}}
    certsDirectory: /etc/containerd/certs.d # or containerd's host files
    dockerConfig: config.json               # credentials for all, after a Pod's own
    credentialHelpers: /helpers             # where the docker-credential-NAME that it names are; else on the PATH
    credentialProviders: {config: credential-providers.yaml, binDirectory: /providers}    # the kubelet's, last
    deniedNetworks: [10.96.0.0/12]          # above all the cluster's Service range
    proxy: true                             # take HTTPS_PROXY, HTTP_PROXY and NO_PROXY from the environment
    timeouts: {connect: 5, idle: 15, document: 20, lookUp: 120, layer: 300, credentials: 20}    # seconds
    tagLife: 300                            # seconds for which a tag is not asked again

Every field may be missing; one that is unknown is refused. Paths are relative to the file.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from webhook.errors import InvalidSetting
from webhook.registry import certs_d
from webhook.registry.auth.credential_providers import Providers
from webhook.registry.auth.docker_config import DockerConfig
from webhook.registry.auth.keychain import Credentials
from webhook.registry.files import read, read_text, read_yaml
from webhook.registry.settings import AUTHORITY, ClientCertificate, Host, Lives, RegistrySettings, Timeouts
from webhook.registry.transport.egress import networks

Authority = Annotated[str, Meta(pattern=f"^{AUTHORITY.pattern}", description="HOST or HOST:PORT, without a scheme.")]
Seconds = Annotated[float, Meta(gt=0, le=3600)]


class _Document(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of what people write: camelCase keys, unknown fields refused."""


class ClientPair(_Document, frozen=True):
    """PEM files of a client certificate and its key."""

    certificate: str
    key: str


class ProviderFiles(_Document, frozen=True):
    """The kubelet's --image-credential-provider-config and --image-credential-provider-bin-dir."""

    config: str
    bin_directory: str


class TimeoutValues(_Document, frozen=True):
    """Seconds; what each is for, `webhook.registry.settings.Timeouts` says."""

    connect: Seconds = Timeouts().connect
    idle: Seconds = Timeouts().idle
    document: Seconds = Timeouts().document
    look_up: Seconds = Timeouts().look_up
    layer: Seconds = Timeouts().layer
    credentials: Seconds = Timeouts().credentials


class RegistryConfig(_Document, frozen=True):
    """The file; what each field is for, the module says."""

    insecure: tuple[Authority, ...] = ()
    allowed: tuple[Authority, ...] = ()
    registries: tuple[Authority, ...] = ()
    mirrors: dict[Authority, Annotated[tuple[Authority, ...], Meta(min_length=1)]] = {}
    authorities: dict[Authority, str] = {}
    authority: str | None = None
    client_certificates: dict[Authority, ClientPair] = {}
    certs_directory: str | None = None
    docker_config: str | None = None
    credential_helpers: str | None = None
    credential_providers: ProviderFiles | None = None
    denied_networks: tuple[str, ...] = ()
    proxy: bool = False
    timeouts: TimeoutValues = TimeoutValues()
    tag_life: Annotated[float, Meta(ge=0, le=86400)] = Lives().tag


class Access(msgspec.Struct, frozen=True):
    """The settings about registries, and the operator's credentials in the order in which they are tried."""

    settings: RegistrySettings = RegistrySettings()
    credentials: tuple[Credentials, ...] = ()


def load(path: Path | None, insecure: Iterable[str] = ()) -> Access:
    """The settings and credentials of the file, if there is one; `insecure` hosts may be spoken to over plain HTTP, too.

    Every file that it names is read and checked. `InvalidSetting` names the file and the field.
    """
    config = RegistryConfig() if path is None else read_yaml(path, RegistryConfig)
    folder = Path() if path is None else path.parent
    plain = frozenset(each.lower() for each in (*insecure, *config.insecure))
    files = _host_files(config, path, folder, plain)
    try:
        networks(config.denied_networks)
    except InvalidSetting as error:
        raise InvalidSetting(f"{path}: deniedNetworks: {error}") from None
    settings = RegistrySettings(
        insecure=plain,
        allowed=frozenset(map(str.lower, config.allowed)),
        registries=frozenset(config.registries),
        denied_networks=config.denied_networks,
        authorities=files.authorities,
        authority="" if config.authority is None else read_text(folder / config.authority),
        client_certificates=files.client_certificates,
        hosts=files.hosts,
        proxy=config.proxy,
        timeouts=Timeouts(**msgspec.structs.asdict(config.timeouts)),
        lives=Lives(tag=config.tag_life),
    )
    return Access(settings, tuple(_credentials(config, path, folder)))


def _host_files(config: RegistryConfig, path: Path | None, folder: Path, insecure: frozenset[str]) -> certs_d.HostFiles:
    """Whom to ask and whom to trust, from containerd's host files and from the fields; not both about one host."""
    if config.certs_directory is None:
        named = {registry.lower(): (*map(Host, mirrors), Host()) for registry, mirrors in config.mirrors.items()}
        files = certs_d.HostFiles(named, {}, {})
    elif config.mirrors:
        raise InvalidSetting(f"{path}: mirrors and certsDirectory both say whom to ask; give one of them")
    else:
        files = certs_d.load(folder / config.certs_directory, insecure)
    for given, found in (
        (config.authorities, files.authorities),
        (config.client_certificates, files.client_certificates),
    ):
        twice = {each.lower() for each in given} & set(found)
        if twice:
            raise InvalidSetting(f"{path}: the TLS of {min(twice)} is in certsDirectory as well; give it in one place")
    for name, file in config.authorities.items():
        files.authorities[name.lower()] = read_text(folder / file)
    for name, pair in config.client_certificates.items():
        files.client_certificates[name.lower()] = ClientCertificate(folder / pair.certificate, folder / pair.key)
    return files


def _credentials(config: RegistryConfig, path: Path | None, folder: Path) -> Iterable[Credentials]:
    seconds = config.timeouts.credentials
    if config.docker_config is not None:
        helpers = None if config.credential_helpers is None else folder / config.credential_helpers
        yield DockerConfig(partial(read, folder / config.docker_config), helpers, seconds)
    elif config.credential_helpers is not None:
        raise InvalidSetting(f"{path}: credentialHelpers are for a dockerConfig, which names them; give that too")
    if config.credential_providers is not None:
        given = config.credential_providers
        yield Providers(folder / given.config, folder / given.bin_directory, seconds)
