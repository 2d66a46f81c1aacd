"""A request for the identity of an image, and its response from the same source that admission asks."""

from typing import Literal

import msgspec

from webhook.evaluation.evaluator import find_image, stated
from webhook.identity_api import response
from webhook.identity_api.response import IdentityResponse
from webhook.image.source import Images, Query
from webhook.policy.cache import PolicyLister

TEXT_LIMIT = 1024  # characters of an image, and of each name beside it
SECRETS_LIMIT = 16


class IdentityRequest(msgspec.Struct, frozen=True):
    """A request for the identity of an image, read with named pull secrets of a namespace, else with its ServiceAccount's.

    Without a namespace only images that the operator's own credentials open are answered.
    """

    image: str
    namespace: str = ""
    service_account: str = ""
    pull_secrets: tuple[str, ...] = ()
    os: Literal["linux", "windows"] = "linux"
    architectures: tuple[str, ...] = ()

    @property
    def fault(self) -> str:
        """The reason why the request cannot be answered; else empty."""
        names = (self.namespace, self.service_account, *self.pull_secrets, *self.architectures)
        if max(map(len, (self.image, *names))) > TEXT_LIMIT:
            return f"a name is longer than {TEXT_LIMIT} characters"
        if max(len(self.pull_secrets), len(self.architectures)) > SECRETS_LIMIT:
            return f"there are more than {SECRETS_LIMIT} pull secrets or architectures"
        if not self.namespace and (self.service_account or self.pull_secrets):
            return "pull secrets and a ServiceAccount need their namespace"
        return ""


class Lookup:
    """Answers requests; a policy's knownImages count as they do in admission."""

    def __init__(self, images: Images, policies: PolicyLister) -> None:
        self._images = images
        self._policies = policies

    async def answer(self, request: IdentityRequest, seconds: float) -> IdentityResponse:
        """The response within so many seconds."""
        query = Query(
            request.image,
            request.os,
            frozenset(request.architectures),
            request.namespace,
            request.pull_secrets,
            "" if request.pull_secrets else request.service_account,
            budget=seconds,
        )
        policy = self._policies.effective_policy(request.namespace).policy
        found = await find_image(self._images, query, stated(policy.spec, request.image))
        return response.of(request.image, found, request.os)
