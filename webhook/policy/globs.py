"""Globs as people write them in policies and exceptions, compiled to functions that match."""

import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache

from webhook.image import reference

Matcher = Callable[[str], object]

_WILDCARDS = re.compile(r"[*?\[]")
WILDCARD_WEIGHT = 16  # characters: so much longer takes a star to compile


def is_pattern(glob: str) -> bool:
    """Whether a glob stands for more than itself."""
    return _WILDCARDS.search(glob) is not None


def weight(glob: str) -> int:
    """The cost of compiling a glob, in characters of one without wildcards."""
    return len(glob) + WILDCARD_WEIGHT * len(_WILDCARDS.findall(glob))


def compiled(globs: tuple[str, ...]) -> Matcher:
    """A function that says whether any glob matches the whole of a text; `*` spans everything, slashes too."""
    texts = frozenset(each for each in globs if not is_pattern(each))
    patterns = [each for each in globs if is_pattern(each)]
    if not patterns:
        return texts.__contains__
    matches = re.compile("|".join(f"(?:{translate(glob)})" for glob in patterns)).match
    return (lambda text: text in texts or matches(text)) if texts else matches


@lru_cache(maxsize=4096)
def matcher(globs: tuple[str, ...]) -> Matcher:
    """As `compiled`, and kept: for what policies say."""
    return compiled(globs)


@lru_cache(maxsize=4096)
def image_matcher(globs: tuple[str, ...]) -> Matcher:
    """A matcher of normalised image references; a glob may be written as people write references: `nginx:1.27`."""
    return matcher(tuple(map(reference.normalised_glob, globs)))
