"""Programs that hand out credentials, as stubs: shell scripts that speak the documented protocols, or break them."""

from pathlib import Path

HONEST = 'cat > "$0.question"; echo asked >> "$0.calls"; printf %s "$SECRET$1" > "$0.seen"; cat "$0.answer"'
# What hostile or broken programs do; each ends by itself in no case, or says something that is no answer.
HANGS = "sleep 60 & sleep 60"
LEAVES_A_CHILD = "sleep 60 &"  # which keeps the output open
FLOODS = "yes hunter2"
FAILS = "echo hunter2; echo hunter2 >&2; exit 1"
GARBAGE = "echo hunter2"
BINARY = r"printf '\377\376\000hunter2'"
EMPTY = "exit 0"
DEEP = """printf '{"a":'; head -c 500000 /dev/zero | tr '\\0' '['"""
MISSPELT = r"""printf '{"kind":"\377","Username":"\377","Secret":"hunter2"}'"""  # no UTF-8


class Stub:
    """A program in a file of its own. `answer` is what an honest one says, to whatever it is asked."""

    def __init__(self, path: Path, script: str = HONEST, answer: str = "") -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        self.says(answer)

    def says(self, answer: str) -> None:
        """From now on."""
        self._file("answer").write_text(answer)

    @property
    def question(self) -> str:
        """What it was asked last."""
        return self._file("question").read_text()

    @property
    def seen(self) -> str:
        """The variable SECRET and the first argument that it was started with last."""
        return self._file("seen").read_text()

    @property
    def calls(self) -> int:
        """How often it was started."""
        return self._file("calls").read_text().count("\n") if self._file("calls").exists() else 0

    def _file(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{name}")
