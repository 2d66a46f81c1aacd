"""The containers that well-known programs add to other people's Pods, by container name and image.

Names and images as in the projects' own code: istio manifests/charts, linkerd2 charts/partials,
open-telemetry/opentelemetry-operator internal/instrumentation, tektoncd/pipeline pkg/pod, argoproj/argo-workflows
workflow/common, gitlab-org/gitlab-runner executors/kubernetes, vmware-tanzu/velero pkg/restore/actions.
"""

from functools import lru_cache

import msgspec

from webhook.image import reference
from webhook.policy.types import Preset, matcher


class Injector(msgspec.Struct, frozen=True):
    """Who adds them: globs on their `containers`, the registry paths of the project, and its image names there."""

    title: str
    containers: tuple[str, ...]
    registries: tuple[str, ...]
    images: tuple[str, ...]


INJECTORS: dict[Preset, Injector] = {
    "istio": Injector(
        "Istio",
        ("istio-init", "istio-proxy", "istio-validation"),
        ("docker.io/istio", "gcr.io/istio-release", "registry.istio.io/release"),
        ("proxyv2", "install-cni"),
    ),
    "linkerd": Injector(
        "Linkerd",
        ("linkerd-init", "linkerd-proxy", "linkerd-network-validator"),
        ("cr.l5d.io/linkerd", "ghcr.io/linkerd"),
        ("proxy", "proxy-init"),
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
        "Argo Workflows", ("init", "wait"), ("quay.io/argoproj", "docker.io/argoproj"), ("argoexec",)
    ),
    "gitlab-runner": Injector(
        "GitLab Runner",
        ("init-permissions", "helper", "init-build-uid-gid-collector"),
        ("registry.gitlab.com/gitlab-org", "registry.gitlab.com/gitlab-org/gitlab-runner"),
        ("gitlab-runner-helper",),
    ),
    "velero": Injector("Velero", ("restore-wait",), ("docker.io/velero",), ("velero", "velero-restore-helper")),
}


def preset_matches(preset: Preset, container: str, image: str, mirrors: tuple[str, ...]) -> bool:
    """Whether a container is one that the preset lets be: by name, and an image of the project or of a mirror of it."""
    found = INJECTORS[preset]
    places = (*found.registries, *(place for mirror in mirrors for place in (mirror, f"{mirror}/*")))
    globs = tuple(f"{place}/{name}[:@]*" for place in places for name in found.images)
    return bool(matcher(found.containers)(container) and matcher(globs)(image))


@lru_cache(maxsize=4096)
def injector(container: str, image: str) -> tuple[Preset, str] | None:
    """The preset and the title of whoever adds such a container, wherever its image comes from; None: nobody known."""
    name = reference.normalised(image).rpartition("/")[2].partition("@")[0].partition(":")[0]
    for preset, found in INJECTORS.items():
        if matcher(found.containers)(container) and matcher(found.images)(name):
            return preset, found.title
    return None
