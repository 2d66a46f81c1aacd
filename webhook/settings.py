"""Flags and files of `nonroot serve`, read once and checked before anything starts."""

from pathlib import Path

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from webhook.documents import load
from webhook.errors import InvalidDocument, InvalidSetting
from webhook.policy import Documents


class ServeSettings(msgspec.Struct, frozen=True):
    """What `nonroot serve` was asked for. Port 0 takes a free one and says which."""

    host: str = "127.0.0.1"
    port: int = 10250
    metrics_port: int = 8080
    standalone: bool = False
    self_signed: bool = False
    cert: Path | None = None
    key: Path | None = None
    documents: Documents = Documents()
    insecure_registries: tuple[str, ...] = ()
    registry_config: Path | None = None

    def check(self) -> None:
        """`InvalidSetting` where the flags contradict each other."""
        if self.self_signed and (self.cert or self.key):
            raise InvalidSetting("--self-signed makes a certificate of its own: leave out --cert and --key")
        if not self.self_signed and not (self.cert and self.key):
            raise InvalidSetting("TLS needs a certificate: give --cert and --key, or --self-signed to try things out")
        if not self.standalone and (self.documents.policies or self.documents.exceptions):
            raise InvalidSetting("--policy is for --standalone; in a cluster, apply the NonRootPolicy objects instead")


def load_documents(paths: tuple[Path, ...]) -> Documents:
    """The policy documents of some YAML files; `InvalidSetting` names a file that is none, `InvalidDocument` the field."""
    documents = [_load(path) for path in paths]
    merged = Documents(
        tuple(each for found in documents for each in found.policies),
        tuple(each for found in documents for each in found.exceptions),
    )
    names = [each.metadata.name for each in merged.policies]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidDocument(f"two files hold a NonRootPolicy {twice!r}; names must differ")
    return merged


def _load(path: Path) -> Documents:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"cannot read the policy file {path}: {getattr(error, 'strerror', None) or error}"
        ) from None
    try:
        plain = list(YAML(typ="safe", pure=True).load_all(text))
    except YAMLError as error:
        raise InvalidDocument(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    return load(plain, str(path))
