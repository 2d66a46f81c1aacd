"""The cases of the rules: tests/cases/RULE.yaml, with lists `fail`, `pass` and `patched`.

A case is a minimal Pod with `pod` tweaks and its image: `image` (user, passwd, group, platform, longline), `images` for
several platforms, or `unknown` for why it could not be read. `policy` is the spec of an Enforce policy, `restricted` the
level of the namespace. A failing case
`says` a part of the message; a patched one says what the first container's security context `becomes`, and the Pod's.
"""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.support.images import PASSWD, multi, platform_image
from tests.support.pods import effective_policy
from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Directory, Special, Survey
from webhook.image.source import Cause, Image, PlatformImage, Unknown
from webhook.policy.selection import EffectivePolicy

FOLDER = Path(__file__).parents[1] / "unit/evaluation/rules/cases"


class WorkDir(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The working directory of an image; its mode in decimal."""

    path: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o755


class OnePlatform(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An image for one platform; `longline` is the length of a last line in passwd.

    Its layers were read where `capable` (capabilities by path), `setuid` (paths) or `workdir` are given, though empty.
    """

    user: str
    passwd: str | None = PASSWD
    group: str | None = None
    platform: str = "linux/amd64"
    unknown: Cause | None = None
    longline: int = 0
    entrypoint: list[str] = []
    capable: dict[str, list[str]] | None = None
    setuid: list[str] | None = None
    workdir: WorkDir | None = None

    def build(self) -> PlatformImage:
        """The image."""
        passwd = self.passwd + "x" * self.longline if self.passwd is not None else None
        made = platform_image(self.user, passwd, self.group, platform=self.platform, unknown=self.unknown)
        config = msgspec.structs.replace(made.config, entrypoint=tuple(self.entrypoint))
        if self.capable is None and self.setuid is None and self.workdir is None:
            return msgspec.structs.replace(made, config=config)
        special = tuple(Special(path, 0, 0, 0o4755) for path in self.setuid or ())
        capable = tuple(
            Capable(path, FileCapabilities(tuple(names), effective=True))
            for path, names in (self.capable or {}).items()
        )
        at = self.workdir
        directories = () if at is None else (Directory(at.path, "workingDirectory", True, at.uid, at.gid, at.mode),)
        return msgspec.structs.replace(made, config=config, survey=Survey(None, directories, special, capable))


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One case; `name` is a sentence."""

    name: str
    pod: dict[str, Any] = {}
    image: OnePlatform = OnePlatform("app")
    images: list[OnePlatform] = []
    unknown: Cause | None = None
    policy: dict[str, Any] = {}
    restricted: bool = False
    says: str = ""
    becomes: dict[str, Any] = {}
    pod_becomes: dict[str, Any] = {}

    def effective_policy(self) -> EffectivePolicy:
        """The policy in force."""
        return msgspec.structs.replace(effective_policy(**self.policy), restricted=self.restricted)

    def found(self) -> Image | Unknown:
        """What the image source says."""
        if self.unknown:
            return Unknown(self.unknown, "a test says so")
        return multi(*(each.build() for each in self.images or [self.image]))


class Cases(msgspec.Struct, rename={"passing": "pass"}, frozen=True, forbid_unknown_fields=True):
    """The cases of one rule."""

    fail: list[Case]
    passing: list[Case]
    patched: list[Case] = []


def load(rule: str) -> Cases:
    """The cases of a rule."""
    return msgspec.convert(yaml.load((FOLDER / f"{rule}.yaml").read_text(), yaml.CSafeLoader), Cases)
