"""BuildKit's own converter as the oracle: built once, asked over a pipe, and compared with `evaluate`."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.support.oracle import built
from webhook.dockerfile import Base, Malformed, evaluate

SOURCE = Path(__file__).parent / "buildkit"
_VARIABLE = re.compile(r"[^\W\d]\w*|\d+|[@*#?$!-]")


class Oracle:
    """The Go program of tests/oracle_buildkit, as a process that answers one question a line."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([built(SOURCE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, text: str, target: str | None, build_args: Mapping[str, str], base: Base) -> dict[str, Any]:
        """BuildKit's answer: `user`, `working_dir`, `env` of the image's config, or `error`."""
        question = {
            "text": text,
            "target": target or "",
            "build_args": dict(build_args),
            "base": {"user": base.user, "env": base.env, "working_dir": base.working_dir, "onbuild": base.onbuild},
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert not answer["error"].startswith("panic"), answer
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


class _Everywhere(Mapping[str, Base]):
    """The same config for every image, as the oracle's resolver has it."""

    def __init__(self, base: Base) -> None:
        self._base = base

    def __getitem__(self, _image: str) -> Base:
        return self._base

    def __contains__(self, _image: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 1


def bases(text: str) -> tuple[Base, ...]:
    """Base images that differ in everything that a Dockerfile can inherit."""
    names = sorted(set(_VARIABLE.findall(text)))[:400]
    return (
        Base(),
        Base("base-user", tuple(f"{name}=b.{name}" for name in names), "/base"),
        Base("1234:5", tuple(f"{name}=" for name in names), "/other"),
    )


def disagreements(
    oracle: Oracle,
    text: str,
    target: str | None = None,
    build_args: Mapping[str, str] | None = None,
    onbuild: tuple[str, ...] = (),
) -> list[str]:
    """Where `evaluate` and BuildKit differ: with each base known, and with none known; `onbuild` are every base's."""
    found = []
    users, built = set(), 0
    for plain in bases(text):
        base = msgspec.structs.replace(plain, onbuild=onbuild)
        theirs = oracle.ask(text, target, build_args or {}, base)
        ours = evaluate(text, target=target, build_args=build_args, bases=_Everywhere(base))
        if isinstance(ours, Malformed):
            if not theirs["error"]:
                found.append(f"we refuse what BuildKit builds: {ours.reason}")
            continue
        if theirs["error"]:
            found.append(f"we answer {ours.user!r} where BuildKit refuses: {theirs['error']}")
            continue
        built += 1
        users.add(theirs["user"])
        if ours.user != theirs["user"]:
            found.append(f"USER: we say {ours.user!r}, BuildKit {theirs['user']!r}, with {base}")
        if ours.working_dir != (theirs["working_dir"] or "/"):
            found.append(f"WORKDIR: we say {ours.working_dir!r}, BuildKit {theirs['working_dir']!r}")
    blind = evaluate(text, target=target, build_args=build_args)
    if isinstance(blind, Malformed):
        if built:
            found.append(f"without a base we refuse what BuildKit builds: {blind.reason}")
    elif blind.user is None:
        if blind.base is None:
            found.append("we know neither the USER nor the base")
        elif built == len(bases(text)) and len(users) == 1:
            found.append(f"we do not know the USER, which is {users} whatever the base")
    elif users - {blind.user}:
        found.append(f"without a base we say {blind.user!r}, BuildKit {users}")
    return found
