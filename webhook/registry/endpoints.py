"""The endpoints of an image: its registry's mirrors and the registry itself, with one credential after the other.

Sources: kubernetes pkg/kubelet/images/image_manager.go (every credential in turn); containerd/containerd
core/remotes/docker/resolver.go (hosts in turn, a tag only of those that resolve tags).
"""

from collections.abc import Sequence

import msgspec

from webhook.image.reference import Reference
from webhook.image.source import Query, Unknown
from webhook.registry.auth.keychain import Credentials, Keychain, LargeKeychain, MalformedKeychain, PullSecrets
from webhook.registry.auth.token import ANONYMOUS, Credential
from webhook.registry.settings import ANY_REGISTRY, Host, RegistrySettings
from webhook.registry.transport.messages import RegistryError, same_authority

_HUB = {"docker.io": "registry-1.docker.io"}  # containerd/containerd core/remotes/docker/registry.go, DefaultHost


class Endpoint(msgspec.Struct, frozen=True):
    """A host that serves a repository, and the credential that is used there.

    `authority` is the host that answers, at `root`: the registry's own, or a mirror's, which is told whom it `mirrors`.
    `private` is a credential of the Pod's own.
    """

    authority: str
    credential: Credential
    mirrors: str = ""
    root: str = "/v2"
    private: bool = False

    @property
    def fingerprint(self) -> bytes:
        """A text that differs between endpoints in caches, without keeping a credential there."""
        return f"{self.authority}{self.root} ".encode() + self.credential.fingerprint


def api_host(registry: str) -> str:
    """The host that serves the images named after `registry`."""
    return _HUB.get(registry, registry)


class Endpoints:
    """The endpoints of each query, by the Pod's own `pull_secrets` and the operator's `sources`, which are closed with it."""

    def __init__(
        self, settings: RegistrySettings, pull_secrets: PullSecrets | None, sources: Sequence[Credentials]
    ) -> None:
        self._hosts = settings.hosts
        self._limits = settings.limits
        self._pull_secrets = pull_secrets
        self._sources = sources

    async def for_image(self, query: Query, reference: Reference) -> tuple[list[Endpoint], Unknown | None]:
        """The endpoints in turn; and why credentials could not be had, should that turn out to matter.

        Raises `RegistryError` where a pull secret breaks the pull, and where nobody may be asked for a tag.
        """
        pod, unread = await self._pod(query)
        home = api_host(reference.registry)
        endpoints: list[Endpoint] = []
        for host in self._able(reference):
            own = not host.authority or any(same_authority(host.authority, name) for name in (home, reference.registry))
            authority = home if own else host.authority
            image = reference.name if own else f"{authority}/{reference.repository}"
            private = found = pod.find(image) if own else []
            for source in self._sources:
                more, failed = await source.find(image)
                found = [*found, *more]
                unread = unread or failed
            mirrors = "" if own else reference.registry
            endpoints += [
                Endpoint(authority, each, mirrors, host.root, private=each in private)
                for each in dict.fromkeys(found) or (ANONYMOUS,)
            ]
        return endpoints, unread

    async def aclose(self) -> None:
        """End what the sources still run."""
        for source in self._sources:
            await source.aclose()

    async def _pod(self, query: Query) -> tuple[Keychain, Unknown | None]:
        """The Pod's own credentials, and why a Secret could not be read.

        The kubelet reads any number of any size. Ours are shared by all namespaces, so that there is a limit.
        """
        pod, unread = Keychain(), None
        if self._pull_secrets is None:
            return pod, unread
        names = query.pull_secrets
        if query.service_account:
            given = await self._pull_secrets.names(query.namespace, query.service_account)
            names, unread = ((), given) if isinstance(given, Unknown) else (given, None)
        names, most = tuple(dict.fromkeys(names)), self._limits.pull_secrets
        if len(names) > most:
            unread = Unknown("tooLarge", f"the Pod has {len(names)} pull secrets, of which the first {most} are read")
        for name in names[:most]:
            secret = await self._pull_secrets.get(query.namespace, name)
            if isinstance(secret, Unknown):
                unread = unread or secret
            elif secret is not None:
                named = f"the pull secret {query.namespace}/{name}"
                try:
                    pod.add_secret(secret, self._limits)
                except LargeKeychain as error:
                    unread = unread or Unknown("tooLarge", f"{named} is not read: {error}")
                except MalformedKeychain as error:
                    raise RegistryError(
                        "unauthorized", f"{named} cannot be used, by the kubelet neither: {error}"
                    ) from None
        return pod, unread

    def _able(self, reference: Reference) -> list[Host]:
        """Who may be asked for it; a tag only those who resolve tags."""
        named = self._hosts.get(reference.registry.lower(), self._hosts.get(ANY_REGISTRY, (Host(),)))
        able = [host for host in named if host.resolves or reference.digest]
        if not able:
            detail = f"the settings name no host that resolves tags of {reference.registry}"
            raise RegistryError("unreachable", detail, passing=False)
        return able
