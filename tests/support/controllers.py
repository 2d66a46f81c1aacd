"""A small API server in memory: versions and conflicts as the real one has them, and a way to be killed anywhere."""

from collections.abc import Callable
from itertools import count

from webhook.cluster.errors import Conflict
from webhook.cluster.secrets import Secret
from webhook.controller.certificate_objects import ConfigurationKind, WebhookConfiguration


class Killed(BaseException):
    """The controller's process ended here."""


class FakeObjects:
    """Two Secrets and two webhook configurations. `before` and `after` run around each write."""

    def __init__(self) -> None:
        self.secrets: dict[str, Secret] = {}
        self.configurations: dict[str, WebhookConfiguration] = {}
        self.writes: list[str] = []
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None
        self._versions = (str(number) for number in count(1))
        for kind, name in CONFIGURATIONS:
            self.put_configuration(kind, name)

    def put_configuration(self, kind: ConfigurationKind, name: str, bundle: bytes = b"") -> None:
        """As the chart makes it: two webhooks, a caBundle at most by mistake."""
        bundles = {"one.nonroot.dev": bundle, "two.nonroot.dev": bundle}
        self.configurations[name] = WebhookConfiguration(kind, name, next(self._versions), bundles)

    def put_secret(self, name: str, data: dict[str, bytes]) -> None:
        """As a person with kubectl would."""
        self.secrets[name] = Secret("Opaque", data, next(self._versions))

    async def secret(self, namespace: str, name: str) -> Secret | None:
        assert namespace == "web"
        return self.secrets.get(name)

    async def write_secret(self, namespace: str, name: str, content: Secret) -> None:
        self.before()
        found = self.secrets.get(name)
        if content.resource_version != (found.resource_version if found else ""):
            raise Conflict(f"Secret {name}")
        assert found is None or found.type == content.type
        self.secrets[name] = Secret(content.type, content.data, next(self._versions))
        self.writes.append(name)
        self.after()

    async def webhook_configuration(self, kind: ConfigurationKind, name: str) -> WebhookConfiguration | None:
        return self.configurations.get(name)

    async def inject_ca_bundle(self, configuration: WebhookConfiguration, bundle: bytes) -> None:
        self.before()
        found = self.configurations.get(configuration.name)
        if found is None or found.resource_version != configuration.resource_version:
            raise Conflict(configuration.name)
        self.put_configuration(found.kind, found.name, bundle)
        self.writes.append(found.name)
        self.after()


CONFIGURATIONS: tuple[tuple[ConfigurationKind, str], ...] = (
    ("MutatingWebhookConfiguration", "zz-nonroot-webhook"),
    ("ValidatingWebhookConfiguration", "nonroot-webhook"),
)
