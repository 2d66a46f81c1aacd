"""The few questions that starting a cluster asks over HTTP, most of them of its API server."""

import http.client
import json
import ssl
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .certificates import Authority, Pair


def fetch(url: str, context: ssl.SSLContext | None = None) -> str | None:
    """Return the answer's text; None while the server does not answer, or refuses.

    The user's proxy settings are not for addresses that exist on this machine only.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=5) as response:
            text: str = response.read().decode()
            return text
    except (OSError, http.client.HTTPException):
        return None


@dataclass(frozen=True)
class Api:
    """The API server, and the certificate that makes us its administrator."""

    server: str
    authority: Authority
    user: Pair

    def get(self, path: str) -> str | None:
        """Fetch a path of the API."""
        context = ssl.create_default_context(cafile=str(self.authority.pair.certificate))
        context.load_cert_chain(self.user.certificate, self.user.key)
        return fetch(f"{self.server}{path}", context)

    def answers(self, path: str) -> bool:
        """Whether the server answers there, with a success."""
        return self.get(path) is not None

    def node_ready(self, node: str, since: datetime | None) -> bool:
        """Whether the kubelet says (`since` then, if given) that Pods may be placed there."""
        found: dict[str, Any] = json.loads(self.get(f"/api/v1/nodes/{node}") or "{}")
        oldest = since.strftime("%Y-%m-%dT%H:%M:%SZ") if since else ""
        return not found.get("spec", {}).get("taints") and any(
            condition["type"] == "Ready" and condition["status"] == "True" and condition["lastHeartbeatTime"] >= oldest
            for condition in found.get("status", {}).get("conditions", [])
        )
