"""The user's wishes: NonRootPolicy and NonRootException documents, one shape for files and for the cluster.

These structs are the single source: the CRDs' schemas are generated from them, docstrings and bounds included.
"""

import re
from datetime import datetime
from functools import cached_property
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from webhook.image import reference
from webhook.policy.globs import WILDCARD_WEIGHT, Matcher, compiled, image_matcher, is_pattern, weight

API_VERSION = "nonroot.dev/v1alpha1"

Mode = Literal["Audit", "Warn", "Enforce"]
Action = Literal["Allow", "Warn", "Verify", "Deny"]
Preset = Literal["istio", "linkerd", "opentelemetry", "tekton", "argo-workflows", "gitlab-runner", "velero"]
Default = Literal["runAsNonRoot", "allowPrivilegeEscalation", "capabilities", "seccompProfile"]
Uid = Annotated[int, Meta(ge=1, le=2147483647, description="A numeric id above 0.")]
Gid = Annotated[int, Meta(ge=0, le=2147483647, description="A numeric group id.")]
Name = Annotated[str, Meta(min_length=1, max_length=253)]
EXCEPTION_GLOBS = 128  # in each list of an exception
EXCEPTION_WEIGHT = 8192  # of the patterns of an exception, which anybody may write: some 10 ms until they are compiled
_BROAD_WEIGHT = 512  # of an exception that names no workload, and so is looked at for every Pod
Glob = Annotated[str, Meta(min_length=1, max_length=512, description="A shell glob; `*` also spans slashes.")]


class _Document(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Base of what people write: camelCase keys, unknown fields refused."""


class Expression(_Document, frozen=True):
    """One requirement of a label selector."""

    key: Annotated[Name, Meta(description="The label.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist"],
        Meta(description="How the label relates to the values; NotIn also holds where the label is absent."),
    ]
    values: Annotated[
        tuple[str, ...], Meta(max_length=256, description="For In and NotIn, which need one at least; else none.")
    ] = ()

    def __post_init__(self) -> None:
        """As k8s.io/apimachinery pkg/labels/selector.go (NewRequirement): `ValueError` where the values do not fit."""
        if (self.operator in {"In", "NotIn"}) != bool(self.values):
            raise ValueError("values belong to In and NotIn, which need one at least")

    def matches(self, labels: dict[str, str]) -> bool:
        """As k8s.io/apimachinery pkg/labels/selector.go: NotIn also matches where the label is absent."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None


class LabelSelector(_Document, frozen=True):
    """A selector of namespaces by their labels; an empty one selects all."""

    match_labels: Annotated[dict[str, str], Meta(description="Labels that must have exactly these values.")] = {}
    match_expressions: Annotated[
        tuple[Expression, ...], Meta(max_length=64, description="Requirements, all of which must hold.")
    ] = ()

    def matches(self, labels: dict[str, str]) -> bool:
        """All of it holds for `labels`."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            expression.matches(labels) for expression in self.match_expressions
        )


class OnUnknown(_Document, frozen=True):
    """The action for a container whose image could not be read, by cause.

    Verify injects `runAsNonRoot: true`, so that the kubelet decides: it starts an image with a numeric USER above 0, and
    neither root nor a name. Deny refuses, in mode Enforce. Allow and Warn let a container in that may run as root: an
    exemption from what Enforce guarantees. Neither holds for a container that says `runAsNonRoot: false`.
    """

    default: Annotated[
        Action | None,
        Meta(description="For every cause that is not set here; unset: Verify in Enforce, Warn in Audit and Warn."),
    ] = None
    unauthorized: Annotated[Action | None, Meta(description="The registry asks for credentials that we lack.")] = None
    not_found: Annotated[Action | None, Meta(description="The registry does not have the image.")] = None
    unreachable: Annotated[Action | None, Meta(description="The registry does not answer.")] = None
    rate_limited: Annotated[Action | None, Meta(description="The registry asks us to come less often.")] = None
    invalid: Annotated[
        Action | None, Meta(description="What the registry gave is malformed, or not what its digest says.")
    ] = "Deny"
    too_large: Annotated[Action | None, Meta(description="The image is beyond what is read for an answer.")] = None
    pending: Annotated[Action | None, Meta(description="The image was not read in time; asking again may help.")] = None
    local: Annotated[Action | None, Meta(description="The image is on the nodes alone, in no registry.")] = None

    def action(self, cause: str, *, enforced: bool = True) -> Action:
        """The action for a cause of `webhook.image.source.Cause`; `enforced`: in mode Enforce."""
        stated: Action | None = getattr(self, _SNAKE.sub(r"_\1", cause).lower())
        return stated or self.default_action(enforced=enforced)

    def default_action(self, *, enforced: bool) -> Action:
        """The action for a cause that is not set; `enforced`: in mode Enforce."""
        return self.default or ("Verify" if enforced else "Warn")


_SNAKE = re.compile("([A-Z])")


class Assign(_Document, frozen=True):
    """The identity given to images that would run as root because their USER is empty or 0."""

    uid: Annotated[
        Uid | Literal["FromImage"],
        Meta(
            description="The runAsUser that is injected. FromImage: the uid and group that the image's layers show it is made "
            "for, with an fsGroup where it declares volumes; images of which that is not evident are refused as without."
        ),
    ]
    images: Annotated[
        tuple[Glob, ...],
        Meta(min_length=1, description="Globs on the image, as nginx* or registry.example/*: only these get it."),
    ]
    gid: Annotated[Gid | None, Meta(description="The runAsGroup that is injected; unset: none.")] = None


class KnownImage(_Document, frozen=True):
    """An identity stated by the operator for images that no registry can tell about."""

    image: Annotated[Glob, Meta(description="A glob on the image, as nginx:1.27 or registry.example/*; or a digest.")]
    uid: Annotated[Uid, Meta(description="The uid of its USER.")]
    gid: Annotated[Gid, Meta(description="The primary group of its USER.")] = 0
    groups: Annotated[tuple[Gid, ...], Meta(description="The further groups of its USER.")] = ()


class Exemptions(_Document, frozen=True):
    """The users, namespaces and images that are never evaluated."""

    namespaces: Annotated[tuple[Glob, ...], Meta(description="By name; prefer namespaceSelector.")] = ()
    users: Annotated[tuple[Glob, ...], Meta(description="Who asks, such as system:node:*.")] = ()
    service_accounts: Annotated[tuple[Glob, ...], Meta(description="As NAMESPACE:NAME.")] = ()
    runtime_classes: Annotated[tuple[Name, ...], Meta(description="A Pod's runtimeClassName.")] = ()
    images: Annotated[tuple[Glob, ...], Meta(description="Globs on the image, as nginx* or registry.example/*.")] = ()


class ImageDefaults(_Document, frozen=True):
    """The defaults of some images, in place of the policy's."""

    images: Annotated[
        tuple[Glob, ...], Meta(min_length=1, description="Globs on the normalised reference: these images.")
    ]
    defaults: Annotated[
        tuple[Default, ...], Meta(description="All that is injected besides runAsUser; empty: nothing.")
    ]


Rule = Literal[
    "root-user",
    "root-image",
    "named-user",
    "unresolvable-user",
    "invalid-user",
    "platforms-disagree",
    "identity-drift",
    "unmapped-uid",
    "group-without-user",
    "program-privileges",
    "token-file-mode",
    "volume-permissions",
    "shared-volume",
    "private-files",
    "working-directory",
    "windows-administrator",
    "unknown-image",
    "unpinned-user",
]


class PolicySpec(_Document, frozen=True):
    """The demands on the Pods of some namespaces."""

    mode: Annotated[Mode, Meta(description="Audit records, Warn warns the user, Enforce denies.")] = "Audit"
    inject: Annotated[
        Literal["Never", "Always"] | None,
        Meta(description="Whether Pods are patched; unset: Always in Enforce, Never in Audit and Warn."),
    ] = None
    templates: Annotated[
        Literal["Warn", "Deny"], Meta(description="What Enforce does about a Deployment or another template.")
    ] = "Warn"
    priority: Annotated[
        int, Meta(description="The highest priority applies to a namespace; then the stricter policy, then the name.")
    ] = 0
    namespace_selector: LabelSelector = LabelSelector()
    namespace_label: Annotated[
        Literal["Honor", "StricterOnly", "Ignore"],
        Meta(
            description="Whether the namespace label nonroot.dev/mode overrides the mode. One that asks for enforce always "
            "does, because the API server asks the hook of enforced namespaces by the label alone."
        ),
    ] = "Honor"
    label_namespaces: Annotated[
        bool,
        Meta(
            description="In mode Enforce: whether the controller labels the namespaces nonroot.dev/mode=enforce, so that their "
            "Pods are refused and not admitted while admission is away; needs controller.labelNamespaces of the chart."
        ),
    ] = False
    root_images: Annotated[
        Literal["Refuse", "Allow", "Assign"],
        Meta(
            description="What becomes of images that run as root. Allow exempts every container that leaves its user to "
            "its image from what Enforce guarantees."
        ),
    ] = "Refuse"
    assign: Assign | None = None
    root_in_user_namespaces: Annotated[
        Literal["Refuse", "Allow"],
        Meta(
            description="What becomes of root in Pods with hostUsers: false, whose uid 0 is another one on the node. Allow "
            "exempts it, as Pod Security restricted does from 1.35 on."
        ),
    ] = "Refuse"
    on_unknown: OnUnknown = OnUnknown()
    defaults: Annotated[
        tuple[Default, ...], Meta(description="The securityContext fields injected besides runAsUser.")
    ] = ("runAsNonRoot", "allowPrivilegeEscalation", "capabilities", "seccompProfile")
    image_defaults: Annotated[
        tuple[ImageDefaults, ...],
        Meta(
            description="Other defaults for images listed by glob, which keep their runAsUser; the first that matches."
        ),
    ] = ()
    setuid_programs: Annotated[
        tuple[Name, ...],
        Meta(
            description="Base names of setuid programs that containers need while they run, such as sudo: where the image "
            "is known to have one, allowPrivilegeEscalation is left alone."
        ),
    ] = ()
    run_as_group: Annotated[
        Literal["FromImage"] | None,
        Meta(
            description="FromImage: the group of an image's USER, as 100 in `1001:100`, is injected as runAsGroup beside the "
            "runAsUser; a group's name only beside a user's. Unset: none, and Kubernetes ignores that group."
        ),
    ] = None
    fs_group: Annotated[
        Uid | None, Meta(description="The fsGroup for Pods with volumes that their user could not write; unset: none.")
    ] = None
    exceptions: Annotated[
        Literal["Allow", "Forbid"], Meta(description="Whether NonRootExceptions count in these namespaces.")
    ] = "Allow"
    exemptions: Exemptions = Exemptions()
    known_images: Annotated[
        tuple[KnownImage, ...], Meta(description="Who images are about which no registry can be asked.")
    ] = ()
    presets: Annotated[
        tuple[Preset, ...],
        Meta(description="Well-known programs whose own init containers, by name and image, may run as root."),
    ] = ()
    preset_mirrors: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=512)], ...],
        Meta(
            description="Where else the presets' images may come from: the registry, and what of the path stands before the "
            "image's name, such as mirror.example/dockerhub."
        ),
    ] = ()

    def defaults_of(self, image: str) -> tuple[Default, ...]:
        """The fields injected besides runAsUser into a container of that image."""
        if not self.image_defaults:
            return self.defaults
        name = reference.normalised(image)
        return next((each.defaults for each in self.image_defaults if image_matcher(each.images)(name)), self.defaults)

    @property
    def allows_root(self) -> tuple[str, ...]:
        """The fields by which mode Enforce lets root run that nobody has named, as they are written."""
        found = {"rootImages": self.root_images, "rootInUserNamespaces": self.root_in_user_namespaces}
        for field in msgspec.structs.fields(OnUnknown):
            found[f"onUnknown.{field.encode_name}"] = getattr(self.on_unknown, field.name)
        return tuple(f"{name}: {value}" for name, value in found.items() if value in {"Allow", "Warn"})

    def injects(self, mode: Mode) -> bool:
        """Whether Pods are patched when `mode` is in force."""
        return mode == "Enforce" if self.inject is None else self.inject == "Always"


class WorkloadSelector(_Document, frozen=True, dict=True):
    """A workload by kind and name; a Pod also counts as its controller's where the controller itself makes it."""

    name: Annotated[Glob, Meta(description="A glob on the name.")]
    kind: Annotated[
        str,
        Meta(
            max_length=253,
            description="As Deployment, CronJob or, with its API group, Cluster.example.com; unset: any.",
        ),
    ] = ""
    service_account: Annotated[
        str,
        Meta(
            max_length=317,
            description="As NAMESPACE:NAME, who makes the Pods; needed for controllers other than Kubernetes' own.",
        ),
    ] = ""

    @cached_property
    def matches(self) -> Matcher:
        """Whether it selects a name."""
        return compiled((self.name,))


class ExceptionSpec(_Document, frozen=True, dict=True):
    """Containers that are exempted, and why. Every part that is given must match.

    Its globs with wildcards may have 8192 characters together, where each wildcard counts as 17; those without are free.
    """

    reason: Annotated[str, Meta(min_length=1, max_length=1024, description="Why; shown wherever it applies.")]
    workloads: Annotated[
        tuple[WorkloadSelector, ...],
        Meta(max_length=EXCEPTION_GLOBS, description="Which workloads; empty: every one."),
    ] = ()
    images: Annotated[
        tuple[Glob, ...],
        Meta(
            max_length=EXCEPTION_GLOBS,
            description="Globs on the image, as nginx:1.27 or registry.example/*; empty: every one.",
        ),
    ] = ()
    containers: Annotated[
        tuple[Glob, ...], Meta(max_length=EXCEPTION_GLOBS, description="Globs on container names; empty: every one.")
    ] = ()
    rules: Annotated[tuple[Rule, ...], Meta(description="Rule names; empty: every rule.")] = ()
    expires: Annotated[datetime, Meta(tz=True, description="The minute at which it ends; unset: never.")] | None = None

    def __post_init__(self) -> None:
        """`ValueError` where there is too much to compile."""
        if self.weight > EXCEPTION_WEIGHT:
            raise ValueError(
                f"its globs are too many or too long: together those with wildcards may have {EXCEPTION_WEIGHT} characters, where "
                f"each of * ? [ counts as {1 + WILDCARD_WEIGHT}; write names in full, or several exceptions"
            )

    # What globs are compiled to is kept with the exception, and so goes with it.

    @cached_property
    def weight(self) -> int:
        """Roughly the characters of its patterns; names in full cost nothing."""
        names = [each.name for each in self.workloads]
        broad = not names or any(map(is_pattern, names))
        counted = [weight(glob) for glob in (*names, *self.images, *self.containers) if is_pattern(glob)]
        return sum(counted) + _BROAD_WEIGHT * broad

    @cached_property
    def matches_image(self) -> Matcher:
        """Whether one of `images` matches a normalised reference."""
        return compiled(tuple(map(reference.normalised_glob, self.images)))

    @cached_property
    def matches_container(self) -> Matcher:
        """Whether one of `containers` matches a name."""
        return compiled(self.containers)


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """The part of an object's metadata that matters here."""

    name: Name
    namespace: str = ""


class NonRootPolicy(msgspec.Struct, frozen=True):
    """A named policy."""

    metadata: Metadata
    spec: PolicySpec


class NonRootException(msgspec.Struct, frozen=True):
    """A named exception in a namespace."""

    metadata: Metadata
    spec: ExceptionSpec


class Documents(msgspec.Struct, frozen=True):
    """Everything that a policy file or a cluster says."""

    policies: tuple[NonRootPolicy, ...] = ()
    exceptions: tuple[NonRootException, ...] = ()
