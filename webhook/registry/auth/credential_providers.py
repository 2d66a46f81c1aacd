"""The kubelet's exec credential providers as a source of credentials: the programs and the config file of the nodes.

Sources: kubernetes pkg/credentialprovider/plugin/plugin.go (matching, caching, the exchange), plugins.go (one keyring
for what all of them say) and config.go (validation); kubernetes staging/src/k8s.io/kubelet/config/v1/types.go and
staging/src/k8s.io/kubelet/pkg/apis/credentialprovider/v1/types.go (the documents).
"""

import logging
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from webhook.caching import LRUCache
from webhook.errors import InvalidSetting
from webhook.image.source import Unknown
from webhook.registry.auth.keychain import Keychain, matches
from webhook.registry.auth.plugins import OUTPUT_LIMIT, ExecPlugin, PluginFailed, read_json
from webhook.registry.auth.token import Credential
from webhook.registry.files import read_yaml
from webhook.registry.settings import Timeouts

_API = "credentialprovider.kubelet.k8s.io/v1"
_GLOBAL = "global"  # no image's or registry's key: the one has a slash, the other is a host
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"([-+]?)(?:0|((?:{_PART.pattern})+))\Z")

log = logging.getLogger(__name__)


class _Document(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of the kubelet's documents, which it decodes strictly."""


class Variable(_Document, frozen=True):
    """An environment variable of a provider."""

    name: str
    value: str


class ProviderConfig(_Document, frozen=True):
    """One provider, as nodes configure it. `default_cache_duration` is a Go duration such as 12h."""

    name: str
    match_images: Annotated[tuple[str, ...], Meta(min_length=1)]
    default_cache_duration: str
    api_version: Literal["credentialprovider.kubelet.k8s.io/v1"]
    args: tuple[str, ...] | None = None
    env: tuple[Variable, ...] | None = None
    token_attributes: Any = None


class CredentialProviderConfig(_Document, frozen=True):
    """The file that nodes give the kubelet as --image-credential-provider-config."""

    api_version: Literal["kubelet.config.k8s.io/v1"]
    kind: Literal["CredentialProviderConfig"]
    providers: Annotated[tuple[ProviderConfig, ...], Meta(min_length=1)]


class _Login(_Document, frozen=True):
    username: str = ""
    password: str = ""


class _Response(_Document, frozen=True):
    api_version: Literal["credentialprovider.kubelet.k8s.io/v1"]
    kind: Literal["CredentialProviderResponse"]
    cache_key_type: Literal["Image", "Registry", "Global"]
    cache_duration: str | None = None
    auth: dict[str, _Login] | None = None


class Providers:
    """The providers of a CredentialProviderConfig file, whose programs are in `directory`; each may take `seconds`.

    `InvalidSetting` for what the kubelet would refuse too, and for `tokenAttributes`: such a provider is told a token of the
    Pod's ServiceAccount, and the right to make those for every account is the right to be any of them.
    """

    def __init__(
        self,
        config: Path,
        directory: Path,
        seconds: float = Timeouts().credentials,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers: dict[str, _Provider] = {}
        for each in read_yaml(config, CredentialProviderConfig).providers:
            where = f"{config}: the provider {each.name!a}"
            if not each.name or each.name in {".", ".."} or set(each.name) & set("/ "):
                raise InvalidSetting(f"{where} has a name that is no file's in {directory}")
            if each.name in self._providers:
                raise InvalidSetting(f"{where} is there twice")
            if each.token_attributes is not None:
                raise InvalidSetting(
                    f"{where} has tokenAttributes: it wants tokens of the Pods' ServiceAccounts, which the webhook must not "
                    "be able to make; leave it out and give the webhook credentials of its own, such as dockerConfig"
                )
            life = parse_duration(each.default_cache_duration)
            if life is None or life < 0:
                raise InvalidSetting(f"{where}: defaultCacheDuration is no duration from 0 up; write it like 12h")
            path = directory / each.name
            if not (path.is_file() and os.access(path, os.X_OK)):
                raise InvalidSetting(f"{where} needs the program {path}, which is not there or not executable")
            environment = {variable.name: variable.value for variable in each.env or ()}
            program = ExecPlugin(path, each.args or (), environment, seconds, clock)
            self._providers[each.name] = _Provider(program, each.match_images, life, clock)

    async def find(self, image: str) -> tuple[list[Credential], Unknown | None]:
        """Credentials for `image` (HOST/NAME) in turn; and why a provider gave none, where one failed."""
        keychain, unread = Keychain(), None
        for name, provider in self._providers.items():
            if not provider.serves(image):
                continue
            try:
                for key, credential in (await provider.credentials(image)).items():
                    keychain.add(key, credential)
            except PluginFailed as error:
                log.warning("no credentials for %s: %s", image, error)
                unread = Unknown("unauthorized", f"the credential provider {name} failed: {error}")
        return keychain.find(image), unread

    async def aclose(self) -> None:
        """End the programs that still run."""
        for provider in self._providers.values():
            await provider.aclose()


class _Provider:
    """One provider, with the answers that still count."""

    def __init__(self, program: ExecPlugin, globs: tuple[str, ...], life: float, clock: Callable[[], float]) -> None:
        self.aclose = program.aclose
        self._program = program
        self._globs = globs
        self._life = life
        self._clock = clock
        self._answers: LRUCache[str, tuple[Mapping[str, Credential], float]] = LRUCache(OUTPUT_LIMIT)

    def serves(self, image: str) -> bool:
        return any(matches(glob, image) for glob in self._globs)

    async def credentials(self, image: str) -> Mapping[str, Credential]:
        """Credentials by what they are for."""
        keys = {"Image": image, "Registry": image.partition("/")[0], "Global": _GLOBAL}

        def known() -> Mapping[str, Credential] | None:
            found = (self._answers.get(key) for key in keys.values())
            return next((answer for answer, until in filter(None, found) if self._clock() < until), None)

        def read(code: int, output: bytes) -> Mapping[str, Credential]:
            response, life = self._read(code, output)
            answer = {key: Credential(each.username, each.password) for key, each in (response.auth or {}).items()}
            if life > 0:
                self._answers.put(keys[response.cache_key_type], (answer, self._clock() + life), len(output))
            return answer

        question = msgspec.json.encode({"kind": "CredentialProviderRequest", "apiVersion": _API, "image": image})
        return await self._program.ask(image, question + b"\n", known, read)

    def _read(self, code: int, output: bytes) -> tuple[_Response, float]:
        """The response, and for how many seconds it counts."""
        called = "a CredentialProviderResponse of v1"
        response = read_json(self._program.name, code, output, _Response, called)
        life = self._life if response.cache_duration is None else parse_duration(response.cache_duration)
        if life is None:
            raise PluginFailed(f"{self._program.name} answers something other than {called}: no duration")
        return response, life


def parse_duration(text: str) -> float | None:
    """Seconds out of a Go duration (golang time.ParseDuration), such as 1h30m or 1.5s; None where it is none."""
    match = _DURATION.match(text)
    if match is None:
        return None
    seconds = math.fsum(float(number) * _UNITS[unit] for number, unit in _PART.findall(match[2] or ""))
    return -seconds if match[1] == "-" else seconds
