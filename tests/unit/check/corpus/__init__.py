r"""Manifests as people and their tools write them, each with what must be found in it, on the line where it is found.

A comment `#! RULE, RULE` at the end of a line says that these rules speak about that line, `#? WORDS` that something is skipped
from there on, for a reason with those words. JSON has no comments: `NAME.json.expected` has `LINE RULE` for each finding.
"""

import re
from collections import Counter
from pathlib import Path

import msgspec

from tests.support.images import PASSWD, image, multi, platform_image, unknown
from webhook.image.source import Image, Unknown

HERE = Path(__file__).parent
_FOUND = re.compile(r"#! ([a-z, -]+)\Z")
_SKIPPED = re.compile(r"#\? (.+)\Z")

IMAGES: dict[str, Image | Unknown] = {
    "busybox:1.36": image(""),
    "envoyproxy/envoy:v1.31": image("envoy", PASSWD + "envoy:x:101:101::/:/bin/sh\n"),
    "fluent/fluent-bit:3.1": image(""),
    "gcr.io/kaniko-project/executor:v1.23.2": image("0"),
    "ghcr.io/acme/api:1.0.0": image("1000"),
    "ghcr.io/acme/legacy:9": image("ghost"),
    "ghcr.io/acme/name-group:1": image("app:app", PASSWD, "app:x:1000:\n"),
    "ghcr.io/acme/shared-uid:1": image("app", "first:x:1000:1000::/:/bin/sh\napp:x:1000:2000::/:/bin/sh\n"),
    "ghcr.io/acme/signed:1": image("-5"),
    "ghcr.io/acme/toor:1": image("toor", PASSWD + "toor:x:0:0::/:/bin/sh\n"),
    "ghcr.io/acme/two:1": multi(
        platform_image("app"), platform_image("app", "app:x:1001:1001::/:/bin/sh\n", platform="linux/arm64")
    ),
    "ghcr.io/acme/web:2.3.1": image("app"),
    "ghcr.io/acme/worker:1": image("1000:1000"),
    "ghcr.io/acme/zero:1": image("+0"),
    "grafana/grafana:11.2.0": image("472"),
    "istio/proxyv2:1.23.0": image("istio-proxy"),
    "nginx": image(""),
    "nginx:1.27": image(""),
    "nginxinc/nginx-unprivileged:1.27": image("101"),
    "postgres:16": image(""),
    "prom/prometheus:v2.54.1": image("nobody", PASSWD + "nobody:x:65534:65534::/:/bin/false\n"),
    "quay.io/jetstack/cert-manager-controller:v1.15.3": image("1000"),
    "redis:7": image(""),
    "registry.example.com/private/app:1": unknown("unauthorized"),
}


class File(msgspec.Struct, frozen=True):
    """A file of the corpus, and what a check of it must say."""

    path: Path
    text: str
    findings: Counter[tuple[int, str]]
    skipped: tuple[tuple[int, str], ...]

    @property
    def name(self) -> str:
        """Its name, for a test's."""
        return self.path.name


def _read(path: Path) -> File:
    text = path.read_bytes().decode()
    findings: Counter[tuple[int, str]] = Counter()
    skipped = []
    for number, line in enumerate(text.splitlines(), 1):
        if found := _FOUND.search(line):
            findings.update((number, rule) for rule in found[1].split(", "))
        elif left := _SKIPPED.search(line):
            skipped.append((number, left[1]))
    beside = path.with_name(f"{path.name}.expected")
    for line in beside.read_text().splitlines() if path.suffix == ".json" else ():
        place, _, rule = line.partition(" ")
        findings[int(place), rule] += 1
    return File(path, text, findings, tuple(skipped))


FILES = tuple(_read(path) for path in sorted(HERE.iterdir()) if path.suffix in {".yaml", ".json"})
