"""Gatekeeper's external data protocol: images as keys, answers as values.

Source: open-policy-agent/frameworks constraint/pkg/externaldata/request.go, response.go.
"""

from typing import Literal

import msgspec
from pydantic import Field

from webhook.identity_api.lookup import IdentityRequest
from webhook.identity_api.response import IdentityResponse, Model

KEYS_LIMIT = 1000  # a Pod has fewer containers
KEY_LIMIT = 16 * 1024  # characters

Version = Literal["externaldata.gatekeeper.sh/v1beta1", "externaldata.gatekeeper.sh/v1alpha1"]
KeyForm = Literal["images", "objects"]


class Keys(Model):
    """The keys of a request. Gatekeeper sends keys alone; another caller may say whose images they are."""

    keys: tuple[str, ...] = ()
    namespace: str = Field(
        default="", description="Whose pull secrets may be used for images as keys; empty: nobody's."
    )
    service_account: str = Field(default="", description="Whose pull secrets are used where none are named.")
    pull_secrets: tuple[str, ...] = Field(default=(), description="Those of the Pod.")
    os: Literal["linux", "windows"] = Field(default="linux", description="That of the nodes.")


class ProviderRequest(Model):
    """A request from Gatekeeper."""

    api_version: Version
    kind: Literal["ProviderRequest"]
    request: Keys


class Item(Model):
    """The answer to a key, or why there is none."""

    key: str
    value: IdentityResponse | None = None
    error: str = ""


class Items(Model):
    """The answers, one for each key and in their order. The same request has the same effect each time: none."""

    idempotent: Literal[True] = True
    items: tuple[Item, ...] = ()
    system_error: str = ""


class ProviderResponse(Model):
    """A response to Gatekeeper."""

    api_version: Version
    kind: Literal["ProviderResponse"] = "ProviderResponse"
    response: Items


class _Key(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    image: str
    namespace: str = ""
    service_account: str = ""
    pull_secrets: tuple[str, ...] = ()
    os: Literal["linux", "windows"] = "linux"


def identity_request(key: str, form: KeyForm, asked: Keys) -> IdentityRequest:
    """The request that a key stands for; ValueError says why it is none.

    Whether keys are images or JSON objects is said by the URL, and not by the key: an image is written by whoever makes a Pod,
    who could otherwise write one that asks for another namespace.
    """
    if len(key) > KEY_LIMIT:
        raise ValueError(f"the key is longer than {KEY_LIMIT} characters")
    if form == "images":
        return IdentityRequest(key, asked.namespace, asked.service_account, asked.pull_secrets, asked.os)
    try:
        found = msgspec.json.decode(key, type=_Key)
    except msgspec.DecodeError as error:
        raise ValueError(f"the key is not as keys=objects has it: {error}") from None
    return IdentityRequest(**{name: getattr(found, name) for name in found.__struct_fields__})


def item(key: str, answer: IdentityResponse) -> Item:
    """An answer as Gatekeeper takes it: of an image that could not be read the reason is the key's error."""
    if answer.unknown is not None:
        return Item(key=key, error=f"{answer.unknown.cause}: {answer.unknown.detail}")
    return Item(key=key, value=answer)


def refusal(reason: str) -> dict[str, object]:
    """The body of an HTTP error: Gatekeeper decodes it whatever the status is, and hands the reason to the policy."""
    response = ProviderResponse(api_version="externaldata.gatekeeper.sh/v1beta1", response=Items(system_error=reason))
    return response.model_dump(by_alias=True)
