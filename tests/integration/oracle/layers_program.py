"""The Go program of tests/oracle_layers, built once and asked over a pipe."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.oracle import built

SOURCE = Path(__file__).parent / "layers"


class Oracle:
    """What Go and containerd make of archives and layers."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([built(SOURCE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def entries(self, archive: bytes) -> tuple[list[tuple[str, str, str]], str]:
        """Type flag, name and link target of every entry that Go reads, and the error that stops it, if any."""
        answer = self._ask({"archive": base64.b64encode(archive).decode()})
        found = [(each["type"], _text(each["name"]), _text(each["link"])) for each in answer["entries"] or ()]
        return found, answer["error"]

    def files(self, layers: list[bytes]) -> tuple[dict[str, bytes | str | None], dict[str, bytes | str | None]]:
        """/etc/passwd and /etc/group as overlayfs and as plain extraction give them: content, None, or an error's text."""
        answer = self._ask({"layers": [base64.b64encode(each).decode() for each in layers]})
        overlay, native = ({path: _file(each) for path, each in answer[way].items()} for way in ("overlay", "native"))
        return overlay, native

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode("utf-8", "surrogateescape")


def _file(answer: dict[str, Any]) -> bytes | str | None:
    if answer["error"]:
        return str(answer["error"])
    return base64.b64decode(answer["content"] or "") if answer["exists"] else None
