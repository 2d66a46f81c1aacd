"""Where the tokens of some public registries are had: facts of theirs that do not change, which a first look need not ask for.

A registry is here if it wants a token for every image, public ones too, and says so in public. quay.io serves public images
without (quay/quay endpoints/v2/__init__.py, require_repo_read): there a token asked for in advance would be one request more.
"""

from collections.abc import Mapping

from webhook.registry.settings import RegistrySettings, match_authority

REALMS: Mapping[str, Mapping[str, str]] = {
    # moby/moby contrib/download-frozen-image-v2.sh
    "registry-1.docker.io": {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"},
    # renovatebot/renovate lib/modules/datasource/docker/common.ts; richlander/container-registry-api ghcr.md
    "ghcr.io": {"realm": "https://ghcr.io/token", "service": "ghcr.io"},
    # gitlab-org/container-registry docs/auth-request-flow.md
    "registry.gitlab.com": {"realm": "https://gitlab.com/jwt/auth", "service": "container_registry"},
}


def expected(settings: RegistrySettings) -> dict[str, Mapping[str, str]]:
    """The parameters of the challenge that each of these hosts would send, as in `webhook.registry.auth.token.TokenCache`.

    Where the settings have something to say about such a host, somebody else may answer under its name, and passwords
    may be that other's: then nothing is expected.
    """
    special = (settings.insecure, settings.allowed, settings.authorities, settings.client_certificates)
    return {
        authority: parameters
        for authority, parameters in REALMS.items()
        if all(match_authority(authority, entries) is None for entries in special)
    }
