"""A docker config file as a source of credentials: of the helper that it names for a registry, then its own.

Sources: docker/cli cli/config/configfile/file.go (credHelpers before credsStore before auths);
docker/docker-credential-helpers client/client.go and credentials/credentials.go (the protocol).
"""

import logging
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from webhook.caching import LRUCache
from webhook.errors import InvalidSetting
from webhook.image.source import Unknown
from webhook.registry.auth.keychain import Keychain, MalformedKeychain, named_helpers
from webhook.registry.auth.plugins import OUTPUT_LIMIT, ExecPlugin, PluginFailed, read_json
from webhook.registry.auth.token import Credential
from webhook.registry.settings import Timeouts

LIFE = 60.0  # seconds for which a helper's answer counts, and for which the file is not read again
_HUB_SERVER = "https://index.docker.io/v1/"  # docker/cli cli/registry/auth.go: how the Hub is called in docker configs
_HUB_KEYS = (_HUB_SERVER, "index.docker.io", "docker.io")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_NOT_FOUND = b"credentials not found in native keychain"

log = logging.getLogger(__name__)


class _HelperResult(msgspec.Struct, frozen=True):
    """The output of a helper; its other fields are of no interest."""

    username: str = msgspec.field(name="Username", default="")
    secret: str = msgspec.field(name="Secret", default="")


class DockerConfig:
    """The credentials of the docker config that `read` returns: read at once, and again when a minute has passed.

    `InvalidSetting` where it cannot be used at first; later the last good one goes on. Helpers are the programs
    `docker-credential-NAME` of `directory`, else of the PATH.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        directory: Path | None = None,
        seconds: float = Timeouts().credentials,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._directory = directory
        self._seconds = seconds
        self._clock = clock
        self._programs: dict[str, ExecPlugin] = {}
        self._answers: LRUCache[tuple[str, str], tuple[list[Credential], float]] = LRUCache(OUTPUT_LIMIT)
        self._raw = read()
        self._fresh_until = clock() + LIFE
        self._take()

    async def find(self, image: str) -> tuple[list[Credential], Unknown | None]:
        """Credentials for `image` (HOST/NAME) in turn; and why the helper gave none, where it failed."""
        self._refresh()
        unread, found = None, list[Credential]()
        server = image.partition("/")[0]
        keys = _HUB_KEYS if server == "docker.io" else (server,)
        name = next((self._helpers[key] for key in keys if key in self._helpers), self._store)
        if name:
            try:
                found = await self._ask(name, keys[0])
            except PluginFailed as error:
                log.warning("no credentials for %s: %s", server, error)
                unread = Unknown("unauthorized", f"the credential helper for {server} failed: {error}")
        return [*found, *self._keychain.find(image)], unread

    async def aclose(self) -> None:
        """End the helpers that still run."""
        for program in self._programs.values():
            await program.aclose()

    def _refresh(self) -> None:
        if self._clock() < self._fresh_until:
            return
        before, self._fresh_until = self._raw, self._clock() + LIFE
        try:
            self._raw = self._read()
            if self._raw != before:
                self._take()
        except InvalidSetting as error:
            self._raw = before
            log.warning("the docker config of before goes on: %s", error)

    def _take(self) -> None:
        keychain = Keychain()
        try:
            keychain.add_config(self._raw)
            helpers, store = named_helpers(self._raw)
        except MalformedKeychain as error:
            raise InvalidSetting(f"the docker config cannot be used: {error}") from None
        for name in filter(None, (*helpers.values(), store)):
            if not _NAME.match(name):
                raise InvalidSetting(f"the docker config names a credential helper {name!a}; write it like ecr-login")
        self._keychain, self._helpers, self._store = keychain, helpers, store

    async def _ask(self, name: str, server: str) -> list[Credential]:
        def known() -> list[Credential] | None:
            found, until = self._answers.get((name, server)) or (None, 0.0)
            return found if self._clock() < until else None

        def read(code: int, output: bytes) -> list[Credential]:
            found = _read(program.name, code, output)
            self._answers.put((name, server), (found, self._clock() + LIFE), len(output))
            return found

        program = self._program(name)
        return await program.ask(server, server.encode(), known, read)

    def _program(self, name: str) -> ExecPlugin:
        program = self._programs.get(name)
        if program is None:
            called = f"docker-credential-{name}"
            inside = shutil.which(called, path=str(self._directory)) if self._directory else None
            path = Path(inside or shutil.which(called) or called)
            program = self._programs[name] = ExecPlugin(path, ("get",), {}, self._seconds, self._clock)
        return program


def _read(program: str, code: int, output: bytes) -> list[Credential]:
    """The credential that a helper printed; none where it says that it has none."""
    if code and output.strip() == _NOT_FOUND:
        return []
    answer = read_json(program, code, output, _HelperResult, "a credential in JSON")
    return [Credential(answer.username, answer.secret)]
