"""`python -m tests.resilience.honest PORT`: an honest client beside an attack, in a process of its own.

It prints a line after its first answer and, when its input ends, the seconds that the slowest of all took.
"""

import http.client
import json
import select
import ssl
import sys
import time

from tests.support.pods import minimal, tweak
from tests.unit.server.test_asgi import review

PAUSE = 0.02
BODY = review(tweak(minimal(), {"spec.securityContext.runAsUser": 1000}))


def main(port: int) -> None:
    """Send reviews until nobody listens any more."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
    slowest, first = 0.0, True
    while first or not select.select([sys.stdin], [], [], PAUSE)[0]:
        began = time.monotonic()
        connection.request("POST", "/validate?timeout=5s", BODY, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        assert answer["response"]["allowed"]
        if first:
            print("ready", flush=True)
        slowest, first = max(slowest, 0.0 if first else time.monotonic() - began), False
    print(slowest)


if __name__ == "__main__":
    main(int(sys.argv[1]))
