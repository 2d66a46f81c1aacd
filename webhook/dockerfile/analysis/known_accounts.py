"""Accounts of well-known base images, where the image's own build gives them a number.

Only numbers that no release changed are here; a name that is missing is not evident, and the image must be read.
"""

from webhook.image import reference

_NOBODY = 65534
_KNOWN: dict[str, dict[str, int]] = {  # accounts with a number that the image's own build fixes
    "docker.io/library/alpine": {"nobody": _NOBODY},  # alpine/aports main/alpine-baselayout passwd
    "docker.io/library/debian": {"www-data": 33, "nobody": _NOBODY},  # base-passwd passwd.master
    "docker.io/library/nginx": {"nginx": 101},  # nginxinc/docker-nginx Dockerfile-debian.template
    "docker.io/library/node": {"node": 1000},  # nodejs/docker-node Dockerfile-debian.template
    "docker.io/library/ubuntu": {"www-data": 33, "nobody": _NOBODY},  # base-passwd passwd.master
    "docker.io/nginxinc/nginx-unprivileged": {"nginx": 101},  # nginxinc/docker-nginx-unprivileged
}
_KNOWN_PREFIXES: dict[str, dict[str, int]] = {
    "cgr.dev/chainguard/": {"nonroot": 65532},  # chainguard-images/images
    "gcr.io/distroless/": {"nonroot": 65532, "nobody": _NOBODY},  # GoogleContainerTools/distroless common/variables.bzl
    "mcr.microsoft.com/dotnet/": {"app": 1654},  # dotnet/dotnet-docker, since .NET 8
}


def known_accounts(image: str) -> dict[str, int]:
    """The uid of every account that is certain in an image of that name, whatever its tag; `image` is a reference."""
    name = reference.parse(image).name
    known = dict(_KNOWN.get(name, {}))
    for prefix, accounts in _KNOWN_PREFIXES.items():
        if name.startswith(prefix):
            known |= accounts
    return known
