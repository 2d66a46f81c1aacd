"""`make pictures`: the pictures of the documentation, made anew from a real cluster with the webhook installed.

docs/pictures/terminal.svg is what kubectl prints for a Pod with a named user before and after its namespace is enforced.
readiness-light.png and readiness-dark.png are the page of `nonroot scan` about that cluster, as Chromium shows it.
dashboard-light.svg and dashboard-dark.svg are the chart's dashboard with what a real Prometheus has scraped there meanwhile.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import cycle, product
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright
from rich.console import Console
from rich.text import Text

from deploy import release
from deploy.dev import dashboard
from deploy.dev.images.build import Pushed, build_all, build_product, push, push_all
from deploy.local import apt
from deploy.local.prometheus import prometheus

PICTURES = release.ROOT / "docs" / "pictures"
WIDTH = 110  # characters of the terminal
WINDOW = ViewportSize(width=1280, height=1000)
CHANGE_LIMIT = 120.0  # seconds until a Pod is as the next command wants it
MODES = {"shop": "enforce", "payments": "warn", "archive": "audit"}  # namespace -> mode
TRAFFIC = 60.0  # seconds in which Pods are asked for
NAMED, ROOT_IMAGE = "a-useradd-uid", "g-root"
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # on somebody's host


class Terminal:
    """Runs commands in a cluster's environment, and keeps them with what they print."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self._console = Console(record=True, width=WIDTH, file=io.StringIO())

    def run(self, command: str) -> str:
        """Run a command; the result is its output on both streams."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def show(self, command: str) -> None:
        """Run it, and keep it for the picture."""
        self._console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        self._console.print(Text(self.run(command).rstrip("\n") + "\n"))

    def wait(self, pod: str, text: str) -> None:
        """Until `kubectl get` shows that text for a Pod of the namespace."""
        deadline = time.monotonic() + CHANGE_LIMIT
        while text not in self.run(f"kubectl --namespace shop get pod {pod} --no-headers"):
            if time.monotonic() > deadline:
                raise SystemExit(f"the Pod {pod} was not {text} within {CHANGE_LIMIT:.0f} s")
            time.sleep(0.5)

    def save(self, path: Path, title: str) -> None:
        """The picture."""
        svg = self._console.export_svg(title=title, unique_id="terminal")
        path.write_text(FONT.sub("", svg) + "\n", encoding="utf-8")


def main() -> int:
    """Install, act, draw; the exit code."""
    environment = dict(os.environ)
    registry = environment["NONROOT_REGISTRY"]
    images = push_all(build_all().values(), registry)
    ours = release.Image.parse(push(build_product().reference, registry).pinned)
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        terminal = Terminal(environment, folder)
        try:
            release.install(ours, environment, {"insecure": [registry]})
            with prometheus(_replicas(terminal), folder, {"groups": []}) as scraping:
                began = time.time()
                _first_light(terminal, folder, images)
                terminal.save(PICTURES / "terminal.svg", "a Pod whose image has a named user")
                _workloads(terminal, images)
                _ask(terminal, images)
                ended = time.time()
                dashboard.save(dashboard.read(scraping, began, ended), began, ended, PICTURES)
            page = folder / "readiness.html"
            command = [sys.executable, "-m", "webhook", "scan", "--exit-zero", "--insecure-registry", registry]
            command += [part for namespace in MODES for part in ("--namespace", namespace)]
            subprocess.run([*command, "-o", "html", "--output-file", str(page)], env=environment, check=True)
            _photograph(page)
        finally:
            terminal.run("kubectl delete namespace --wait=false " + " ".join(MODES))
            release.uninstall(environment)
    return 0


def _first_light(terminal: Terminal, folder: Path, images: Mapping[str, Pushed]) -> None:
    terminal.run("kubectl create namespace shop")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "notes"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True},
            "containers": [{"name": "app", "image": images[NAMED].reference}],
        },
    }
    (folder / "pod.yaml").write_text(json.dumps(pod))
    kubectl = "kubectl -n shop"
    terminal.show(f"{kubectl} apply -f pod.yaml")
    terminal.wait("notes", "CreateContainerConfigError")
    terminal.show(f"{kubectl} get pod notes")
    terminal.show(f"{kubectl} get pod notes -o jsonpath='{{.status.containerStatuses[0].state.waiting.message}}'")
    terminal.show("kubectl label namespace shop nonroot.dev/mode=enforce")
    terminal.show(f"{kubectl} replace --force -f pod.yaml")
    terminal.wait("notes", "Running")
    terminal.show(f"{kubectl} get pod notes")
    terminal.show(f"{kubectl} get pod notes -o jsonpath='{{.spec.containers[0].securityContext}}'")
    terminal.show(f"{kubectl} run root --image={images[ROOT_IMAGE].reference}")


def _workloads(terminal: Terminal, images: Mapping[str, Pushed]) -> None:
    """A Deployment of every image in namespaces of every mode, as clusters have them before anybody enforces."""
    for namespace, mode in MODES.items():
        for index, (name, image) in enumerate(sorted(images.items())):
            if index % len(MODES) == list(MODES).index(namespace) or namespace == "archive":
                terminal.run(
                    f"kubectl create namespace {namespace}; "
                    f"kubectl -n {namespace} create deployment {name.partition('-')[2]} --image={image.reference}"
                )
        terminal.run(f"kubectl label --overwrite namespace {namespace} nonroot.dev/mode={mode}")
    terminal.run(f"kubectl wait --for=condition=Available deployment --all -A --timeout={CHANGE_LIMIT:.0f}s")


def _replicas(terminal: Terminal) -> list[str]:
    """Where the release's metrics are."""
    path = "{range .items[*]}{.status.podIP}:8080 {end}"
    selector = f"--namespace {release.NAMESPACE} --selector app.kubernetes.io/name=nonroot-webhook"
    return terminal.run(f"kubectl get pods {selector} -o jsonpath='{path}'").split()


def _ask(terminal: Terminal, images: Mapping[str, Pushed]) -> None:
    """Pods of every image in every namespace, one after the other, in dry runs."""
    deadline = time.monotonic() + TRAFFIC
    for image, namespace in cycle(product(sorted(images.values(), key=lambda each: each.reference), MODES)):
        terminal.run(f"kubectl -n {namespace} run asked --image={image.reference} --dry-run=server")
        if time.monotonic() > deadline:
            return


def _photograph(page: Path) -> None:
    """The page in both colour schemes."""
    if shutil.which("chromium") is None:
        apt.install("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = browser.new_context(color_scheme=scheme, viewport=WINDOW)
            opened = context.new_page()
            opened.goto(page.as_uri())
            opened.screenshot(path=PICTURES / f"readiness-{scheme}.png")
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
