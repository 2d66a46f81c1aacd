"""An image source that looks each image of a cluster up once."""

import asyncio
from collections.abc import Sequence

import msgspec

from webhook.image.source import Image, Images, Query, Unknown, find_each
from webhook.scan.collector import Accounts


class MemoizedSource(Images):
    """Implements `webhook.image.source.Images` over another one, for the duration of a scan.

    Two queries are the same where image, nodes and credentials are: without pull secrets, in whichever namespaces. With
    `accounts` no ServiceAccount has to be read for each. What others only ask for as far as it is stored is looked up as well,
    so that it is.
    """

    def __init__(self, images: Images, accounts: Accounts | None = None) -> None:
        self._images = images
        self._accounts = accounts
        self._asked: dict[Query, asyncio.Task[Image | Unknown]] = {}

    async def find(self, query: Query) -> Image | Unknown:
        """As the source below answers first."""
        if query.service_account and self._accounts is not None:
            secrets = self._accounts.get((query.namespace, query.service_account), ())
            query = msgspec.structs.replace(query, pull_secrets=secrets, service_account="")
        secret = query.pull_secrets or query.service_account
        key = msgspec.structs.replace(query, namespace=query.namespace if secret else "", always_pull=False)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.ensure_future(self._images.find(query))
        return await task

    async def find_stored(self, references: Sequence[str], like: Query) -> Sequence[Image | None]:
        """The images, looked up."""
        return await find_each(self, references, like)
