"""The containers that well-known programs add to other people's Pods, by container name and image.

Names and images as in the projects' own code: istio manifests/charts, linkerd2 charts/partials,
open-telemetry/opentelemetry-operator internal/instrumentation, tektoncd/pipeline pkg/pod, argoproj/argo-workflows
workflow/common, gitlab-org/gitlab-runner executors/kubernetes, vmware-tanzu/velero pkg/restore/actions.
"""

from functools import lru_cache

import msgspec

from webhook.image import reference
from webhook.policy.globs import matcher
from webhook.policy.types import Preset, Rule
from webhook.workload.workload import Slot


class Injector(msgspec.Struct, frozen=True):
    """A program that adds containers: globs on the names of its init containers, its registry paths, and its image names there.

    `rules` are those that these containers break by design; `regular` are containers that are no init containers and do
    too, `harmless` those that break none. With `own_program` the init containers have no command but the image's own.
    """

    title: str
    init: tuple[str, ...]
    registries: tuple[str, ...]
    images: tuple[str, ...]
    regular: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()
    rules: frozenset[Rule] = frozenset({"root-image"})
    own_program: bool = False

    @property
    def containers(self) -> tuple[str, ...]:
        """Globs on all of its containers' names."""
        return (*self.init, *self.regular, *self.harmless)


_EXPLICIT_ROOT: frozenset[Rule] = frozenset({"root-user"})

INJECTORS: dict[Preset, Injector] = {
    "istio": Injector(
        "Istio",
        ("istio-init",),
        ("docker.io/istio", "gcr.io/istio-release", "registry.istio.io/release"),
        ("proxyv2", "install-cni"),
        harmless=("istio-proxy", "istio-validation"),
        rules=_EXPLICIT_ROOT,
        own_program=True,
    ),
    "linkerd": Injector(
        "Linkerd",
        ("linkerd-init",),
        ("cr.l5d.io/linkerd", "ghcr.io/linkerd"),
        ("proxy", "proxy-init"),
        harmless=("linkerd-proxy", "linkerd-network-validator"),
        rules=_EXPLICIT_ROOT,
        own_program=True,
    ),
    "opentelemetry": Injector(
        "the OpenTelemetry operator",
        ("opentelemetry-auto-instrumentation*",),
        ("ghcr.io/open-telemetry/opentelemetry-operator", "ghcr.io/open-telemetry"),
        ("autoinstrumentation-*",),
    ),
    "tekton": Injector(
        "Tekton",
        ("prepare", "place-scripts", "place-tools", "working-dir-initializer"),
        ("gcr.io/tekton-releases/*", "ghcr.io/tektoncd/*", "gcr.io/tektoncd", "cgr.dev/chainguard"),
        ("entrypoint", "entrypoint-*", "shell", "busybox", "workingdirinit", "workingdirinit-*"),
    ),
    "argo-workflows": Injector(
        "Argo Workflows", ("init",), ("quay.io/argoproj", "docker.io/argoproj"), ("argoexec",), regular=("wait",)
    ),
    "gitlab-runner": Injector(
        "GitLab Runner",
        ("init-permissions", "init-build-uid-gid-collector"),
        ("registry.gitlab.com/gitlab-org", "registry.gitlab.com/gitlab-org/gitlab-runner"),
        ("gitlab-runner-helper",),
        regular=("helper",),
    ),
    "velero": Injector("Velero", ("restore-wait",), ("docker.io/velero",), ("velero", "velero-restore-helper")),
}


def preset_matches(preset: Preset, slot: Slot, image: str, mirrors: tuple[str, ...]) -> bool:
    """Whether a container is one that the preset exempts: by its kind and name, and an image of the project or a mirror.

    Whoever takes such a name and image for a container of another kind, or for another program, is not meant.
    """
    found, container = INJECTORS[preset], slot.container
    names = {"init": found.init, "regular": found.regular}.get(slot.kind, ())
    if not matcher(names)(container.name) or (found.own_program and container.command):
        return False
    places = (*found.registries, *(place for mirror in mirrors for place in (mirror, f"{mirror}/*")))
    return bool(matcher(tuple(f"{place}/{name}[:@]*" for place in places for name in found.images))(image))


def injector(container: str, image: str) -> tuple[Preset, str] | None:
    """The preset and the title of whoever adds such a container, wherever its image comes from; None: nobody known."""
    for preset in _with_image(image):
        found = INJECTORS[preset]
        if matcher(found.containers)(container):
            return preset, found.title
    return None


def uses(image: str) -> bool:
    """Whether an injector has an image of that name, so that the container's name tells whether it is one of its own."""
    return bool(_with_image(image))


@lru_cache(maxsize=4096)
def _with_image(image: str) -> tuple[Preset, ...]:
    """The presets that have an image of that name: none of nearly all, whatever their containers are called."""
    name = reference.normalised(image).rpartition("/")[2].partition("@")[0].partition(":")[0]
    return tuple(preset for preset, found in INJECTORS.items() if matcher(found.images)(name))
