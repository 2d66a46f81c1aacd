"""The image exposes a port below 1024, and does not run as root.

Why: only a process with CAP_NET_BIND_SERVICE may listen below `net.ipv4.ip_unprivileged_port_start`, which is 1024 on a
plain node. Runtimes that set it to 0 hide this until the image meets one that does not, or a restricted Pod.
Fails: `EXPOSE 80` with `USER 10001`.
Passes: `EXPOSE 8080`; `EXPOSE 80` as root, or where a step gives a program the capability: `RUN setcap
cap_net_bind_service=+ep /app`.
Fix: listen on a port above 1023 and let the Service map it: `port: 80`, `targetPort: 8080`.
Dockerfile: `EXPOSE 8080`.
Source: ip(7), ip_unprivileged_port_start; containerd/containerd internal/cri/config (EnableUnprivilegedPorts)
"""

import re
from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.dockerfile.stages.step import Step

NAME: Final = "low-port"

_FIRST_FREE = 1024
_PORT = re.compile(r"(?:.*:)?([0-9]{1,5})(?:-[0-9]{1,5})?(?:/[a-zA-Z]*)?\Z")


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """An exposed low port of an image that does not run as root."""
    if not evaluation.user or evaluation.root or any(map(_grants, evaluation.all_steps)):
        return
    for step in evaluation.steps:
        if step.keyword != "EXPOSE":
            continue
        ports = [int(match[1]) for port in step.arguments if (match := _PORT.match(port or ""))]
        low = ", ".join(str(port) for port in sorted(set(ports)) if 0 < port < _FIRST_FREE)
        if low:
            yield DockerfileFinding(
                rule=NAME,
                severity="warning",
                line=step.line,
                column=step.column,
                reason="port needs root",
                detail=f"EXPOSE {low} is below {_FIRST_FREE}, and the image does not run as root",
                fix="listen on a port above 1023, and let the Service map it (targetPort)",
            )


def _grants(step: Step) -> bool:
    """Whether a step runs setcap for CAP_NET_BIND_SERVICE."""
    return step.keyword == "RUN" and any(
        command.name == "setcap" and "cap_net_bind_service" in " ".join(command.arguments).lower()
        for command in step.commands
    )
