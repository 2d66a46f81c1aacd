"""`--policy FILE`: the documents of some files."""

from pathlib import Path

from webhook.errors import InvalidDocument, InvalidSetting
from webhook.policy.loader import load
from webhook.policy.types import Documents


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
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            f"cannot read the policy file {path}: {getattr(error, 'strerror', None) or error}"
        ) from None
    try:
        plain = list(YAML(typ="safe", pure=True).load_all(text))
    except RecursionError:
        raise InvalidDocument(f"{path} is nested too deeply") from None
    except (YAMLError, ValueError) as error:  # a number of more than 4300 digits, or a day that no calendar has
        raise InvalidDocument(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    return load(plain, str(path))
