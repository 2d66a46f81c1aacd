"""Accounts of well-known base images, where the image's own build gives them a number.

Only tags whose releases have that number are here; for any other one the account is not evident, and the image must be
read. A digest says nothing about the release.
"""

import re

import msgspec

from webhook.image import reference

_NOBODY = 65534
_VERSION = re.compile(r"v?(\d+)(?:\.(\d+))?(?![\w])")
_UNRELEASED = re.compile(r"preview|alpha\d|beta|-rc|nightly")
_ANY_MINOR = 1_000_000  # of a tag such as `nginx:1`, which is the newest release of that major number


class _Known(msgspec.Struct, frozen=True):
    """Accounts of the images of a repository, from the release `since` on: its major and minor number."""

    accounts: dict[str, int]
    since: tuple[int, int] = (0, 0)


_REPOSITORIES: dict[str, _Known] = {
    "docker.io/library/alpine": _Known({"nobody": _NOBODY}),  # alpine/aports main/alpine-baselayout passwd
    "docker.io/library/debian": _Known({"www-data": 33, "nobody": _NOBODY}),  # base-passwd passwd.master
    "docker.io/library/ubuntu": _Known({"www-data": 33, "nobody": _NOBODY}),  # base-passwd passwd.master
    # nginxinc/docker-nginx: `--uid 101` since 1.17; 1.10 has 104
    "docker.io/library/nginx": _Known({"nginx": 101}, (1, 18)),
    "docker.io/nginxinc/nginx-unprivileged": _Known({"nginx": 101}, (1, 18)),
    "docker.io/library/node": _Known({"node": 1000}, (8, 0)),  # nodejs/docker-node: `--uid 1000` since 2017
}
_PREFIXES: dict[str, _Known] = {
    "cgr.dev/chainguard/": _Known({"nonroot": 65532}),  # chainguard-images/images
    # GoogleContainerTools/distroless common/variables.bzl
    "gcr.io/distroless/": _Known({"nonroot": 65532, "nobody": _NOBODY}),
    "mcr.microsoft.com/dotnet/": _Known({"app": 1654}, (8, 0)),  # dotnet/dotnet-docker; 101 in 6.0 for CBL-Mariner
}


def known_accounts(image: str) -> dict[str, int]:
    """The uid of every account that is certain in an image, going by its repository and tag; `image` is a reference."""
    parsed = reference.parse(image)
    prefixed = (known for prefix, known in _PREFIXES.items() if parsed.name.startswith(prefix))
    known = _REPOSITORIES.get(parsed.name) or next(prefixed, None)
    return dict(known.accounts) if known and _released(parsed, known.since) else {}


def _released(image: reference.Reference, since: tuple[int, int]) -> bool:
    """Whether a tag is of that release or a later one; a tag without a number, such as `alpine`, is of the newest."""
    if since == (0, 0):
        return True
    if image.tag is None or _UNRELEASED.search(image.tag):
        return False
    found = _VERSION.match(image.tag)
    if found is None:
        return not image.tag[0].isdigit()
    return (int(found[1]), int(found[2]) if found[2] else _ANY_MINOR) >= since
