"""Files that an operator names, read whole and with a limit; an error names the file and the field."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from webhook.errors import InvalidSetting
from webhook.text import describe_error

LIMIT = 8 * 1024 * 1024

T = TypeVar("T")


def read(path: Path, limit: int = LIMIT, what: str = "a file of settings") -> bytes:
    """The content, up to `limit` bytes; `InvalidSetting` where it cannot be had, or is more than `what` ever is."""
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise InvalidSetting(
            f"cannot read {path}: {error.strerror or error}; correct the path, or give {what}"
        ) from error
    if len(raw) > limit:
        raise InvalidSetting(f"{path} is larger than {limit >> 20} MiB, which {what} never is")
    return raw


def read_text(path: Path) -> str:
    """The content as text, which must be UTF-8; raises as `read` does."""
    try:
        return read(path).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSetting(f"{path} is no text in UTF-8") from None


def read_yaml(path: Path, kind: type[T]) -> T:
    """A YAML document of that kind; `InvalidSetting` names the file and the field."""
    try:
        document = YAML(typ="safe", pure=True).load(read_text(path))
    except YAMLError as error:
        raise InvalidSetting(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InvalidSetting(f"{path} is nested too deeply for a file of settings") from None
    return convert({} if document is None else document, kind, str(path))


def convert(document: Any, kind: type[T], where: str) -> T:
    """Plain data as `kind`; `InvalidSetting` begins with `where` and names the field."""
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise InvalidSetting(f"{where}: {describe_error(error, kind)}") from None
