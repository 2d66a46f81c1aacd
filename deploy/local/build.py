"""The programs of a cluster, built once from their published source and kept in the cache.

Kubernetes publishes no binaries on the Go module proxy, but it publishes its source there,
so a machine with Go and nothing else can have them. A tool's folder carries its version in
its name and appears only when complete: what is there is never built again.
"""

import contextlib
import fcntl
import functools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .commands import run
from .errors import ClusterError

RECIPES = Path(__file__).with_name("tools")
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")

# The versions that can be had, by the minor version that $KUBERNETES and $CONTAINERD name; the first is the default.
KUBERNETES = {
    "1.36": "v1.36.3",
    "1.35": "v1.35.4",
    "1.34": "v1.34.4",
    "1.33": "v1.33.13",
    "1.32": "v1.32.9",
    "1.31": "v1.31.4",
    "1.30": "v1.30.14",
}
CONTAINERD = {"2.2": "v2.2.1", "2.1": "v2.1.9", "2.0": "v2.0.14", "1.7": "v1.7.35"}

PLUGIN = """\
name: unittest
version: "{version}"
usage: "unittest for helm charts"
description: "Unit tests for Helm charts, in YAML"
command: "$HELM_PLUGIN_DIR/helm-unittest"
"""


@dataclass(frozen=True)
class Tool:
    """One entry of the cache; `make` fills the folder that it is given."""

    name: str
    version: str
    make: Callable[[Path], None]

    @property
    def folder(self) -> Path:
        return paths.binaries() / f"{self.name}-{self.version}"

    @property
    def built(self) -> bool:
        return self.folder.is_dir()

    def build(self) -> None:
        """Make the tool beside its place and move it there whole, so half a build is never used.

        Of several builders of one cache, the first builds and the others wait for it.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_halves(self.folder.parent)
        with _building(self.folder.parent, self.name):
            if not self.built:
                self._build()

    def _build(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=f".{self.name}-") as work:
            made = Path(work) / "made"
            made.mkdir()
            self.make(made)
            made.rename(self.folder)


@contextlib.contextmanager
def _building(folder: Path, name: str, mode: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Let nobody else build the tool of that name meanwhile."""
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, mode)
        yield


def _remove_halves(folder: Path) -> None:
    """Remove what builders that were killed have left: the work of a tool that nobody builds."""
    for work in folder.glob(".*-*/"):
        name = work.name[1:].rpartition("-")[0]  # as TemporaryDirectory adds to it
        with contextlib.suppress(BlockingIOError), _building(folder, name, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(work, ignore_errors=True)


def _go(*words: str | Path, cwd: Path, gobin: Path | None = None) -> str:
    if shutil.which("go") is None:
        raise ClusterError("Go 1.21 or newer is needed to build the cluster's programs: go.dev/dl")
    env = {"CGO_ENABLED": "0"} | ({"GOBIN": str(gobin)} if gobin else {})
    return run("go", *words, cwd=cwd, env=env)


def _stamps(stamps: Mapping[str, str]) -> str:
    """Linker flags: no debug tables, and the version strings that upstream's own builds set."""
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])


def from_module(
    module: Path, commands: Sequence[str], stamps: Mapping[str, str] = {}, mode: str = "readonly"
) -> Callable[[Path], None]:
    """Build commands through a module of ours, which pins all that they are made of."""

    def make(folder: Path) -> None:
        flags = ("-trimpath", f"-mod={mode}", f"-ldflags={_stamps(stamps)}")
        _go("build", *flags, "-o", f"{folder}/", *commands, cwd=module)

    return make


def installed(packages: Sequence[str], version: str, stamps: Mapping[str, str]) -> Callable[[Path], None]:
    """Build commands that `go install` takes as they are."""

    def make(folder: Path) -> None:
        names = [f"{package}@{version}" for package in packages]
        flags = ("-trimpath", f"-ldflags={_stamps(stamps)}")
        _go("install", *flags, *names, cwd=folder, gobin=folder)

    return make


def published(module: str, version: str, commands: Sequence[str], stamps: Mapping[str, str]) -> Callable[[Path], None]:
    """Build commands of a module whose own go.mod replaces or excludes others, which `go install` refuses.

    A module of ours repeats that go.mod and go.sum. What they replace by folders beside them (the parts of Kubernetes) is
    replaced by the published version of the same number: v0.36.3 for v1.36.3.
    """

    def make(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            ours = Path(work)
            theirs = Path(json.loads(_go("mod", "download", "-json", f"{module}@{version}", cwd=ours))["Dir"])
            for name in ("go.mod", "go.sum"):
                (ours / name).write_text((theirs / name).read_text())
            said = json.loads(_go("mod", "edit", "-json", cwd=ours))
            parts = {each["Old"]["Path"] for each in said["Replace"] or () if "Version" not in each["New"]}
            required = parts & {each["Path"] for each in said["Require"]}
            part = version.replace("v1.", "v0.", 1)
            edits = [f"-require={module}@{version}", *(f"-require={name}@{part}" for name in sorted(required))]
            edits += [f"-replace={name}={name}@{part}" for name in sorted(parts)]
            _go("mod", "edit", "-module=nonroot.invalid/tools", *edits, cwd=ours)
            from_module(ours, [f"{module}/cmd/{each}" for each in commands], stamps, "mod")(folder)

    return make


def required(module: Path, requirement: str) -> str:
    """The version that a module of ours asks for: its go.mod is the one place that says it."""
    found = re.search(rf"{re.escape(requirement)} (v[\w.]+)", (module / "go.mod").read_text())
    if found is None:
        raise ClusterError(f"{module}/go.mod does not require {requirement}")
    return found[1]


def _helm_unittest(folder: Path) -> None:
    """Lay out a folder for $HELM_PLUGINS: Helm's own installer would download the program."""
    plugin = folder / "unittest"
    plugin.mkdir()
    module = "github.com/helm-unittest/helm-unittest"
    from_module(RECIPES / "helm-unittest", [f"{module}/cmd/helm-unittest"])(plugin)
    version = required(RECIPES / "helm-unittest", module).removeprefix("v")
    (plugin / "plugin.yaml").write_text(PLUGIN.format(version=version))


def of_module(module: Path, requirement: str) -> Tool:
    """A program whose main package is in a module of ours, under the module's name."""
    return Tool(module.name, required(module, requirement), from_module(module, ["."]))


def kubernetes(minor: str, name: str = "kubernetes", *programs: str) -> Tool:
    """Some programs of Kubernetes, by default those of a cluster."""
    version = KUBERNETES[minor]
    major, number = minor.split(".")
    base = "k8s.io/component-base/version"
    stamps = {f"{base}.gitVersion": version, f"{base}.gitMajor": major, f"{base}.gitMinor": number}
    return Tool(name, version, published("k8s.io/kubernetes", version, programs or PROGRAMS, stamps))


def containerd(minor: str) -> Tool:
    """The runtime."""
    version = CONTAINERD[minor]
    module = "github.com/containerd/containerd" + ("/v2" if minor.startswith("2.") else "")
    stamps = {f"{module}/version.Version": version}
    return Tool(
        "containerd", version, published(module, version, ("containerd", "containerd-shim-runc-v2", "ctr"), stamps)
    )


def asked(variable: str, versions: Mapping[str, str]) -> str:
    """The minor version that the environment asks for."""
    minor = os.environ.get(variable) or next(iter(versions))
    if minor not in versions:
        raise ClusterError(f"{variable}={minor}: only {', '.join(versions)} can be built here")
    return minor


@functools.cache
def tools() -> Mapping[str, Tool]:
    """Every program by name, Kubernetes and containerd of the versions that the environment asks for."""
    return {tool.name: tool for tool in _tools()}


def _tools() -> Iterable[Tool]:
    yield kubernetes(asked("KUBERNETES", KUBERNETES))
    yield containerd(asked("CONTAINERD", CONTAINERD))
    yield of_module(RECIPES / "etcd", "go.etcd.io/etcd/server/v3")
    # Helm 3's own Makefile stamps the Kubernetes that its client-go belongs to; without it,
    # charts that name a kubeVersion are told v1.20. Helm 4 knows it from its build.
    helm, module = "v4.3.2", "helm.sh/helm/v4"
    stamps = {f"{module}/internal/version.version": helm}
    yield Tool("helm4", helm, installed([f"{module}/cmd/helm"], helm, stamps))
    helm, module = "v3.19.2", "helm.sh/helm/v3"
    stamps = {f"{module}/internal/version.version": helm}
    for package in ("pkg/lint/rules", "pkg/chartutil"):
        stamps |= {
            f"{module}/{package}.k8sVersionMajor": "1",
            f"{module}/{package}.k8sVersionMinor": "34",
        }
    yield Tool("helm", helm, installed([f"{module}/cmd/helm"], helm, stamps))
    kubeconform, module = "v0.8.0", "github.com/yannh/kubeconform"
    yield Tool(
        "kubeconform", kubeconform,
        installed([f"{module}/cmd/kubeconform"], kubeconform, {"main.version": kubeconform}),
    )  # fmt: skip
    actionlint = "v1.7.12"
    yield Tool("actionlint", actionlint, installed(["github.com/rhysd/actionlint/cmd/actionlint"], actionlint, {}))
    unittest = required(RECIPES / "helm-unittest", "github.com/helm-unittest/helm-unittest")
    yield Tool("helm-unittest", unittest, _helm_unittest)


def ensure(names: Iterable[str] = (), say: Callable[[str], None] = lambda _: None) -> None:
    """Build those of `names`, or of all, that the cache lacks."""
    ensure_tools([tools()[name] for name in names or tools()], say)


def ensure_tools(tools: Iterable[Tool], say: Callable[[str], None]) -> None:
    """Build those of `tools` that the cache lacks."""
    for tool in tools:
        if not tool.built:
            say(f"building {tool.name} {tool.version} (minutes, once)")
            tool.build()


def program(tool: str, name: str) -> str:
    """The path of a built program."""
    path = tools()[tool].folder / name
    if not os.access(path, os.X_OK):
        raise ClusterError(f"{path} is missing: python -m deploy.local build")
    return str(path)
