"""containerd's host files (certs.d): the hosts that nodes ask for a registry's images, and the CAs they trust there.

They are read once, at the start. What would let somebody else answer for a registry, or learn a secret, is refused, not
passed over: `skip_verify`, headers (which may be secrets, and would have to follow redirects), and TLS settings for
whatever registry an image may name.

Sources: containerd/containerd docs/hosts.md, core/remotes/docker/config/hosts.go (the files) and hosts_unix.go (the
folders), core/remotes/docker/resolver.go (a tag is asked of hosts that pull and resolve, a digest of those that pull).
"""

import posixpath
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from webhook.errors import InvalidSetting
from webhook.registry.endpoints import api_host
from webhook.registry.files import convert, read_text
from webhook.registry.settings import ANY_REGISTRY, AUTHORITY, ClientCertificate, Host, match_authority

_FILE = "hosts.toml"
_PORT = re.compile(r"_([0-9]+)_\Z")  # as in HOST_PORT_, for file systems without colons
_PULLING = frozenset({"pull", "resolve"})


class HostFiles(msgspec.Struct, frozen=True):
    """The contents of a folder of host files, in the terms of `RegistrySettings`."""

    hosts: dict[str, tuple[Host, ...]]
    authorities: dict[str, str]
    client_certificates: dict[str, ClientCertificate]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    capabilities: tuple[str, ...] = ()
    ca: str | tuple[str, ...] = ()
    client: str | tuple[str | tuple[str, str], ...] = ()
    skip_verify: bool = False
    override_path: bool = False
    dial_timeout: str = ""  # ours are `Timeouts`
    header: dict[str, Any] = {}


class _Document(_Entry, frozen=True, forbid_unknown_fields=True):
    server: str = ""
    host: dict[str, _Entry] = {}


def load(folder: Path, insecure: Collection[str]) -> HostFiles:
    """The folder's registries: HOST, HOST_PORT_ or HOST:PORT, and _default. `InvalidSetting` names file and reason.

    `insecure` are the authorities that may be spoken to over plain HTTP: an http:// host must be among them, an
    https:// one must not.
    """
    reading = _Reading(frozenset(insecure))
    try:
        for each in sorted(folder.iterdir()):
            if not each.is_dir() or each.name.startswith("."):
                continue
            if ":" in each.name and (folder / f"{each.name.replace(':', '_')}_").is_dir():
                continue  # the other spelling goes first
            reading.take(_PORT.sub(r":\1", each.name).lower(), each)
    except OSError as error:
        raise InvalidSetting(
            f"cannot read the host files in {folder}: {error}; correct the path or its rights"
        ) from None
    return HostFiles(reading.hosts, reading.authorities, reading.client_certificates)


class _Reading:
    """The hosts that were read so far."""

    def __init__(self, insecure: frozenset[str]) -> None:
        self.hosts: dict[str, tuple[Host, ...]] = {}
        self.authorities: dict[str, str] = {}
        self.client_certificates: dict[str, ClientCertificate] = {}
        self._insecure = insecure

    def take(self, registry: str, folder: Path) -> None:
        """The folder of one registry."""
        path = folder / _FILE
        if not path.exists():
            document = _certificates(folder)
        else:
            try:
                document = convert(tomllib.loads(read_text(path)), _Document, str(path))
            except (ValueError, RecursionError) as error:  # ValueError: also a number of 5000 digits
                raise InvalidSetting(f"{path} is no TOML: {error}") from None
        found = [self._host(url, entry, registry, path) for url, entry in document.host.items()]
        found.append(self._host(document.server, document, registry, path))
        self.hosts[registry] = tuple(host for host in found if host is not None)

    def _host(self, url: str, entry: _Entry, registry: str, path: Path) -> Host | None:
        """One host, or None for one that nothing may be pulled from."""
        where = f"{path}: {url or 'the registry itself'}"
        capabilities = {
            each.lower() for each in entry.capabilities
        } or _PULLING  # those of later versions do not matter
        if entry.skip_verify:
            raise InvalidSetting(f"{where}: skip_verify is not taken, anybody could answer then; name its CA as ca")
        if entry.header:
            raise InvalidSetting(f"{where}: header is not taken; give credentials in a docker config instead")
        host = Host()
        if url:
            host = self._located(url, entry, where)
            if "pull" not in capabilities:
                return None
            host = msgspec.structs.replace(host, resolves="resolve" in capabilities)
        elif registry == ANY_REGISTRY and (entry.ca or entry.client):
            raise InvalidSetting(f"{where}: ca and client would hold for whatever an image names; give a server")
        self._keep_tls(host.authority or api_host(registry), entry, path)
        return host

    def _located(self, url: str, entry: _Entry, where: str) -> Host:
        try:
            parts = urlsplit(url if url.startswith("http") else f"https://{url}")
        except ValueError:
            parts = urlsplit("")
        authority = parts.netloc.lower()
        if parts.scheme == "https":
            authority = authority.removesuffix(":443")
        if parts.scheme not in {"http", "https"} or parts.query or not AUTHORITY.match(authority):
            raise InvalidSetting(f"{where} is no address of a host; write it like https://mirror.example.com")
        if (parts.scheme == "http") != (match_authority(authority, self._insecure) is not None):
            plain = "is over plain HTTP and not listed" if parts.scheme == "http" else "is over TLS and listed"
            raise InvalidSetting(f"{where} {plain} under insecure; say the same in both places")
        root = f"/{posixpath.normpath(parts.path).strip('/')}".rstrip("/") if parts.path else ""
        if not entry.override_path and not root.endswith("/v2"):
            root += "/v2"
        return Host(authority, root)

    def _keep_tls(self, authority: str, entry: _Entry, path: Path) -> None:
        files = (entry.ca,) if isinstance(entry.ca, str) else entry.ca
        if files:
            self._set(self.authorities, authority, "".join(read_text(path.parent / each) for each in files), path)
        pairs = (entry.client,) if isinstance(entry.client, str) else entry.client
        if len(pairs) > 1:
            raise InvalidSetting(f"{path}: {authority} has several client certificates; we show one: keep one")
        for pair in pairs:
            certificate, key = (pair, None) if isinstance(pair, str) else pair
            shown = ClientCertificate(path.parent / certificate, path.parent / key if key else None)
            self._set(self.client_certificates, authority, shown, path)

    def _set(self, kept: dict[str, Any], authority: str, value: Any, path: Path) -> None:
        if kept.setdefault(authority, value) != value:
            raise InvalidSetting(
                f"{path}: {authority} has another CA or client certificate elsewhere; we keep one a host"
            )


def _certificates(folder: Path) -> _Document:
    """A folder without a host file, in docker's layout: NAME.crt are authorities, NAME.cert and NAME.key a client's."""
    authorities = tuple(sorted(each.name for each in folder.glob("*.crt")))
    clients: list[str | tuple[str, str]] = []
    for each in sorted(folder.glob("*.cert")):
        key = each.with_suffix(".key")
        clients.append((each.name, key.name) if key.exists() else each.name)
    return _Document(ca=authorities, client=tuple(clients))
