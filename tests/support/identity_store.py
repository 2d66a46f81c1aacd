"""An identity store in memory, in place of the cluster: whatever one client saves, the next one finds."""

from datetime import UTC, datetime

from webhook.image import image_identity
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageIdentity
from webhook.image.reference import Reference
from webhook.image.source import Image, Query

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


class InMemoryStore(IdentityIndex):
    """Implements `webhook.registry.fallback.IdentityStore`; the first to create an object wins, as at the API server."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[ImageIdentity] = []

    def save(self, requested: Reference, image: Image, query: Query) -> None:
        """Create what there is to create, at once."""
        for each in image_identity.of_image(requested, image, query.namespace if image.private else None, NOW):
            self.create(each)

    def create(self, identity: ImageIdentity) -> None:
        """As the API server: a name is only given once."""
        if identity.name not in {each.name for each in self.created}:
            self.created.append(identity)
            self.update(f"uid of {identity.name}", identity)
