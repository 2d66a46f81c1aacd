"""The compose file: valid, clean by our own evaluation, and its command answers its review as its header says."""

import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.integration.server.test_server import Server
from tests.support.builtin_schemas import complaints
from tests.support.command import nonroot

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "compose"
FILE = FOLDER / "compose.yaml"


def _service() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]["webhook"]
    return service


def test_it_is_a_compose_file() -> None:
    assert complaints("compose-spec", [FILE]) == ""


def test_we_have_nothing_to_say_about_it() -> None:
    done = nonroot("check", str(FOLDER), "--no-images", "--output", "json")
    assert (done.returncode, json.loads(done.stdout)["findings"]) == (0, [])


def test_nobody_else_reaches_it() -> None:
    """Docker publishes a port on every address, past the host's firewall, unless it is told one."""
    assert all(port.startswith("127.0.0.1:") for port in _service()["ports"])


def test_its_command_answers_its_review() -> None:
    """With the policy beside it, where the file would be mounted."""
    (source,) = (each for each in _service()["configs"])
    policy = FOLDER / yaml.safe_load(FILE.read_text())["configs"][source["source"]]["file"]
    serve, *arguments = [str(policy) if word == source["target"] else word for word in _service()["command"]]
    assert (serve, arguments[0]) == ("serve", "--standalone")  # Server says these itself
    server = Server(*arguments[1:])
    try:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # `curl --insecure`
        request = urllib.request.Request(
            f"https://127.0.0.1:{server.ports[0]}/validate",
            (FOLDER / "review.json").read_bytes(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5, context=context) as reply:
            response = json.load(reply)["response"]
    finally:
        server.stop()
    assert response["uid"] == json.loads((FOLDER / "review.json").read_text())["request"]["uid"]
    assert not response["allowed"]
    assert 'runs as root: container "app"' in response["status"]["message"]
