"""An image source that also has every layer read, for what the image's programs need and which uid it is made for."""

from collections.abc import Sequence

import msgspec

from webhook.image.source import Image, Images, Query, Unknown, find_each


class Surveying(Images):
    """An image source in front of another one; an image whose layers cannot be read is answered as without."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`. Who is root is asked first: to that, a survey only adds."""
        found = await self._images.find(query)
        if not isinstance(found, Image) or query.os != "linux":
            return found
        surveyed = await self._images.find(msgspec.structs.replace(query, accounts=True, survey=True))
        return surveyed if isinstance(surveyed, Image) and surveyed.digest == found.digest else found

    async def find_stored(self, references: Sequence[str], like: Query) -> Sequence[Image | None]:
        """The images, with every layer read."""
        return await find_each(self, references, like)
