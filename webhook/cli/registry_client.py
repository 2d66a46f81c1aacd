"""The registry client of the command line, with the credentials and the proxy of whoever runs it."""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from webhook.errors import InvalidSetting
from webhook.registry import config_file
from webhook.registry.auth.keychain import PullSecrets
from webhook.registry.client import RegistryClient
from webhook.registry.files import read
from webhook.registry.settings import WORKSTATION


def registry_client(
    insecure: Iterable[str] = (),
    config: Path | None = None,
    look_up_seconds: float | None = None,
    pull_secrets: PullSecrets | None = None,
) -> RegistryClient:
    """A client with the user's docker config; use it within one event loop, and `aclose` it there.

    `insecure` lists HOST[:PORT] that may be spoken to over plain HTTP. `config` is a file as for `nonroot serve
    --registry-config`; its word on credentials and the proxy then stands instead of the user's own. `look_up_seconds` are
    for one image, and for one layer of it, where that is more than a replica would wait; `pull_secrets` reads those of Pods.
    `InvalidSetting` where a file is unusable.
    """
    access = config_file.load(config, insecure)
    settings = msgspec.structs.replace(access.settings, limits=WORKSTATION, layers_per_namespace=access.settings.layers)
    if look_up_seconds is not None:
        timeouts = msgspec.structs.replace(settings.timeouts, look_up=look_up_seconds, layer=look_up_seconds)
        settings = msgspec.structs.replace(settings, timeouts=timeouts)
    if config is not None:
        return RegistryClient(settings, pull_secrets, credentials=access.credentials)
    return RegistryClient(msgspec.structs.replace(settings, proxy=True), pull_secrets, docker_config())


def docker_config() -> bytes | None:
    """The docker config file that `docker login` writes; None where there is none.

    The credential helpers that it names are asked about images of their registries, as docker does.
    Source: docker/cli cli/config/config.go (DOCKER_CONFIG, else ~/.docker).
    """
    folder = os.environ.get("DOCKER_CONFIG")
    path = (Path(folder) if folder else Path("~/.docker").expanduser()) / "config.json"
    try:
        return read(path, what="a docker config")
    except InvalidSetting as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise InvalidSetting(f"{error}; or set DOCKER_CONFIG") from None
