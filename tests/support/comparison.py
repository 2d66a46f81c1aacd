"""The Pods of docs/explanation/comparison.md: what becomes of each, and what the page says of it.

What a node makes of a Pod that is let in is the conformance tests' model, which those compare with real kubelets.
"""

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from deploy.dev.oci import Content, accounts_layer, image
from tests.conformance import model
from tests.conformance.model import Files, Ran, Stuck
from tests.support.pods import Object

HERE = Path(__file__).parents[2] / "docs" / "explanation"
HOST = "registry.example.com"
PODS: dict[str, Object] = {
    each["metadata"]["name"]: each for each in yaml.safe_load_all((HERE / "comparison" / "pods.yaml").read_text())
}
UID = 1500
_ROOT, _APP = "root:x:0:0:root:/root:/bin/sh", f"app:x:{UID}:{UID}::/:/bin/sh"
IMAGES: dict[str, tuple[str | None, tuple[str, ...]]] = {  # the USER and the lines of /etc/passwd
    f"{HOST}/comparison/named:1": ("app", (_ROOT, _APP)),
    f"{HOST}/comparison/numeric:1": (str(UID), (_ROOT, _APP)),
    f"{HOST}/comparison/root:1": (None, (_ROOT, _APP)),
    f"{HOST}/comparison/unaccounted:1": ("app", (_ROOT,)),
}
REFUSED = "refused"


def content(reference: str) -> Content:
    """An image, for a registry."""
    user, passwd = IMAGES[reference]
    return image(accounts_layer(*passwd), user=user)


def on_a_node(pod: Object) -> str:
    """What becomes of a Pod that is stored like this."""
    spec = pod["spec"]
    (container,) = spec["containers"]
    user, passwd = IMAGES[container["image"]]
    files = Files("".join(f"{line}\n" for line in passwd).encode(), None)
    contexts = spec.get("securityContext", {}), container.get("securityContext", {})
    match model.outcome(user, files, *contexts, model.NEWEST):
        case Ran(uid=0):
            return "**runs as root**"
        case Ran(uid=uid):
            return f"runs as {uid}"
        case Stuck():
            return "does not start"


def column(comes_to: Callable[[Object], Object | None]) -> dict[str, str]:
    """What becomes of every Pod where admission stores it so; None where it refuses it."""
    stored = {name: comes_to(pod) for name, pod in PODS.items()}
    return {name: REFUSED if pod is None else on_a_node(pod) for name, pod in stored.items()}


def written(title: str) -> dict[str, str]:
    """The column of the page's table with that title."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (HERE / "comparison.md").read_text().splitlines()
        if line.startswith("| Pod | Nothing |") or re.match(r"\| `[a-z-]+` \|", line)
    ]
    place = rows[0].index(title)
    return {row[0].strip("`"): row[place] for row in rows[1:]}
