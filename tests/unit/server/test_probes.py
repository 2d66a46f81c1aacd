"""What the admission server loads to answer probes and metrics."""

import subprocess
import sys


def test_without_the_identity_api_nothing_of_it_or_of_a_cluster_is_imported() -> None:
    """Each import is memory of every replica, and time until it is ready."""
    program = (
        "import sys, webhook.server.server; "
        "print(*{'fastapi', 'pydantic', 'kubernetes', 'kopf', 'webhook.identity_api'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
