"""Manifest files for the tests, and the check of them against a table of images."""

from collections.abc import Mapping
from pathlib import Path

from tests.support.images import Table, image, unknown
from webhook.check.report import Report
from webhook.check.run import Request, check
from webhook.image.source import Image, Images, NotExamined, Unknown
from webhook.policy.types import Documents

IMAGES: dict[str, Image | Unknown] = {
    "named:1": image("app"),
    "numeric:1": image("1000"),
    "root:1": image(""),
    "nobody:1": image("ghost"),
    "down:1": unknown("unreachable"),
}

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
spec:
  containers:
    - name: app
      image: named:1
      securityContext:
        runAsNonRoot: true
"""


async def run(
    folder: Path, files: Mapping[str, str], *, images: Images | None = None, documents: Documents | None = None
) -> Report:
    """Write the files, check the folder; paths in the report are relative to it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    source = Table(IMAGES) if images is None else images
    return await check(Request((str(folder),), documents or Documents()), source)


async def run_text(folder: Path, text: str, *, no_images: bool = False) -> Report:
    """Check one manifest."""
    return await run(folder, {"pod.yaml": text}, images=NotExamined() if no_images else None)


def places(report: Report) -> list[tuple[str, str, int, int]]:
    """(rule, severity, line, column) of each finding."""
    return [(each.rule, each.severity, each.line, each.column) for each in report.findings]
