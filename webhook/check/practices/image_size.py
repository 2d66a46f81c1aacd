"""The size of an image: what pulling the largest of its platforms transfers."""

from webhook.check.run import IMAGE_BUDGET
from webhook.image.source import Image, Images, Query, Unknown
from webhook.registry import layout


async def size(reference: str, images: Images) -> int | Unknown:
    """Bytes, compressed as the registry or the file has them, or why they cannot be determined.

    `reference` is whatever `nonroot inspect` takes; `InvalidSetting` for a file that is not there.
    """
    query = Query(reference, budget=IMAGE_BUDGET)
    if reference.startswith(layout.TRANSPORTS):
        found, _ = await layout.read(query)
    else:
        found = await images.find(query)
    return max(each.size for each in found.platforms) if isinstance(found, Image) else found
