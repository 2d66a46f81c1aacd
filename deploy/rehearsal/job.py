"""The release job, step by step: shell steps as they are written, actions by what stands in for them on this machine."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.dev.images.build import Built, build_product, export_index
from deploy.local import apt, build, commands
from deploy.local.cluster import Say
from deploy.local.errors import ClusterError
from webhook import __version__

from . import emulation, registry, signing
from .registry import Registry
from .workflow import ROOT, Runner, Step

REPOSITORY = "Some-Org/NonRoot-Webhook"  # upper case, which registries refuse
ONLY_GITHUB = frozenset({"actions/attest-build-provenance"})
GH = """\
#!/bin/sh
for word in "$@"; do
  case $word in dist/*) [ -s "$word" ] || { echo "$word: no such file" >&2; exit 1; } ;; esac
done
echo "$*"
"""


@dataclass(frozen=True)
class Release:
    """What a run of the job left."""

    runner: Runner
    registry: Registry
    keys: Path
    images: Mapping[str, Built]
    """The image of each architecture, in the storage that they were built in."""
    skipped: tuple[str, ...]
    """The actions that only GitHub can run."""

    @property
    def image(self) -> str:
        """As users write it."""
        return f"{self.runner.values['env.IMAGE']}:{__version__}"

    @property
    def chart(self) -> str:
        """As users write it."""
        return f"{self.runner.values['env.CHARTS']}/nonroot-webhook:{__version__}"

    @property
    def digest(self) -> str:
        """Of the image's index."""
        return self.runner.values["steps.image.outputs.digest"]

    def call(self, *command: str | Path, **more: str) -> str:
        """Run a program as a user of this release would, who has logged in; what it printed."""
        return commands.run(*self.registry.inside, *command, env={**self.runner.environment, **more})


@contextmanager
def run(folder: Path, say: Say) -> Iterator[Release]:
    """Run the job for this commit and version; the registry is there for the length of a `with`."""
    apt.install("buildah", "mmdebstrap", "skopeo")
    build.ensure(["helm"], say)
    build.ensure_tools([signing.COSIGN], say)
    with ExitStack() as held:
        serving = held.enter_context(registry.serving(folder / "registry"))
        job = _Job(_runner(folder, serving), folder, held, say)
        for step in job.runner.steps:
            job.do(step)
        yield Release(job.runner, serving, folder / "keys", job.images, tuple(job.skipped))


def _runner(folder: Path, serving: Registry) -> Runner:
    for name in ("bin", "keys", "checkout"):
        (folder / name).mkdir()
    (folder / "bin" / "gh").write_text(GH)
    (folder / "bin" / "gh").chmod(0o755)
    revision = commands.run("git", "rev-parse", "HEAD", cwd=ROOT).strip()
    programs = folder / "bin", build.tools()["helm"].folder, signing.COSIGN.folder
    environment = {
        **os.environ,
        **serving.environment(),
        "PATH": os.pathsep.join([*map(str, programs), os.environ.get("PATH", os.defpath)]),
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_REPOSITORY_OWNER": REPOSITORY.partition("/")[0],
        "GITHUB_REF_NAME": f"v{__version__}",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_ACTOR": registry.USER,
    }
    values = {"secrets.GITHUB_TOKEN": registry.PASSWORD, "github.actor": registry.USER, "github.sha": revision}
    return Runner(folder / "checkout", environment, values, serving.inside)


class _Job:
    def __init__(self, runner: Runner, folder: Path, held: ExitStack, say: Say) -> None:
        self.runner = runner
        self.images: dict[str, Built] = {}
        self.skipped: list[str] = []
        self._folder = folder
        self._held = held
        self._say = say
        self._stand_ins: Mapping[str, Callable[[Step], None]] = {
            "actions/checkout": self._check_out,
            "actions/setup-python": _needs_nothing,
            "docker/setup-qemu-action": _needs_nothing,  # at the build, for the architectures that it asks for
            "docker/setup-buildx-action": _needs_nothing,  # buildah
            "docker/login-action": self._log_in,
            "docker/build-push-action": self._build_and_push,
            "sigstore/cosign-installer": self._make_key,
        }

    def do(self, step: Step) -> None:
        action = step.get("uses", "").partition("@")[0]
        self._say(f"step: {step.get('name') or action or step['run']}")
        if not action:
            done = self.runner.run(step)
            if done.returncode:
                raise ClusterError(f"{step['run']}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
        elif action in ONLY_GITHUB:
            self._say("  only on GitHub, left out")
            self.skipped.append(action)
        elif stand_in := self._stand_ins.get(action):
            stand_in(step)
        else:
            raise ClusterError(f"{action}: nothing stands in for it; add it to {__name__}")

    def _check_out(self, _: Step) -> None:
        commands.run("git", "clone", "--quiet", ROOT, self.runner.checkout)

    def _log_in(self, step: Step) -> None:
        given = {name: self.runner.expand(text) for name, text in step["with"].items()}
        words = ("skopeo", "login", "--username", given["username"], "--password-stdin", given["registry"])
        self._call(*words, stdin=given["password"])

    def _build_and_push(self, step: Step) -> None:
        given = {name: self.runner.expand(str(text)) for name, text in step["with"].items()}
        arguments = dict(line.split("=", 1) for line in given["build-args"].splitlines())
        for each in given["platforms"].split(","):
            architecture = each.removeprefix("linux/")
            self._held.enter_context(emulation.of(architecture))
            self._say(f"  building for {architecture} (minutes, once)")
            self.images[architecture] = build_product(
                f"localhost/nonroot-webhook:{arguments['VERSION']}-{architecture}",
                version=arguments["VERSION"],
                revision=arguments["REVISION"],
                architecture=architecture,
                source=self.runner.checkout,
            )
        index = self._folder / "index"
        export_index([image.reference for image in self.images.values()], f"dir:{index}")
        digest = self._folder / "digest"
        copy = ("skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--digestfile", digest)
        self._call(*copy, f"dir:{index}", f"docker://{given['tags']}")
        self.runner.give(step, digest=digest.read_text().strip())

    def _call(self, *words: str | Path, stdin: str = "") -> None:
        commands.run(*self.runner.inside, *words, env=self.runner.environment, stdin=stdin)

    def _make_key(self, _: Step) -> None:
        self.runner.environment |= signing.make_key(self._folder / "keys")


def _needs_nothing(_: Step) -> None:
    pass
