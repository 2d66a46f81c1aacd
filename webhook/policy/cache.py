"""The namespaces, policies and exceptions of a cluster in memory, from files or as they are watched."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from webhook.errors import InvalidDocument
from webhook.policy import selection
from webhook.policy.exemptions import ExceptionIndex
from webhook.policy.loader import known_fields, read
from webhook.policy.selection import BUILT_IN, EffectivePolicy, Namespace
from webhook.policy.types import Documents, NonRootException, NonRootPolicy
from webhook.workload.workload import Workload


class PolicyLister(Protocol):
    """A source of effective policies: the documents of files, or those that `PolicyWatch` follows."""

    def knows(self, namespace: str) -> bool:
        """Whether the namespace, and so its labels, has been seen; one that was just made may be on its way."""
        ...

    @property
    def may_enforce(self) -> bool:
        """Whether any policy enforces, so that a namespace that has not been seen may be an enforced one."""
        ...

    def effective_policy(self, namespace: str) -> "EffectivePolicy":
        """The policy in force for a namespace."""
        ...

    def exceptions(self, namespace: str, workload: Workload | None = None) -> tuple[NonRootException, ...]:
        """The exceptions in a namespace, expired ones included; of a workload, at least those that are about it."""
        ...


DEFAULT_NAMESPACE = "default"  # where an object that names no namespace ends up
_NAMESPACES_LIMIT = 16384


class PolicySnapshot:
    """Policies, exceptions and namespaces that never change: those of some files, or of a cluster at one time.

    A namespace that is not among `namespaces` has no label but its name.
    """

    def __init__(self, documents: Documents, namespaces: Mapping[str, Namespace] | None = None) -> None:
        self._policies = documents.policies
        self._may_enforce = any(each.spec.mode == "Enforce" for each in documents.policies)
        self._complete = namespaces is None
        self._namespaces = namespaces or {}
        self._effective: dict[str, EffectivePolicy] = {}
        exceptions: dict[str, list[NonRootException]] = {}
        for each in documents.exceptions:
            exceptions.setdefault(each.metadata.namespace or DEFAULT_NAMESPACE, []).append(each)
        self._exceptions = {namespace: ExceptionIndex(each) for namespace, each in exceptions.items()}

    def knows(self, namespace: str) -> bool:
        """Whether there could be more to know of a namespace: of files there is not."""
        return self._complete or namespace in self._namespaces

    @property
    def may_enforce(self) -> bool:
        """Whether any policy enforces."""
        return self._may_enforce

    def effective_policy(self, namespace: str) -> EffectivePolicy:
        """The policy in force for a namespace: worked out once, then a dict look-up."""
        effective_policy = self._effective.get(namespace)
        if effective_policy is None:
            name = namespace or DEFAULT_NAMESPACE
            effective_policy = selection.select_policy(self._policies, self._namespaces.get(name) or Namespace(name))
            if len(self._effective) >= _NAMESPACES_LIMIT:
                self._effective.clear()
            self._effective[namespace] = effective_policy
        return effective_policy

    def exceptions(self, namespace: str, workload: Workload | None = None) -> tuple[NonRootException, ...]:
        """The exceptions in a namespace, expired ones included; of a workload, at least those that are about it."""
        found = self._exceptions.get(namespace or DEFAULT_NAMESPACE)
        if found is None:
            return ()
        return found.all if workload is None else found.about(workload)


class StoredObject(msgspec.Struct, frozen=True):
    """A policy or exception of the cluster as far as it can be used; `name` is its kind and name.

    `document` is what is in force: None where nothing is. `problem` says why the object cannot be used as it is, and names
    the field; a policy's `document` is then the last version that could be. `unknown_fields` are paths in the spec of a
    policy that this version does not know: they have no effect.
    """

    name: str
    document: NonRootPolicy | NonRootException | None
    problem: str = ""
    unknown_fields: tuple[str, ...] = ()


def accept(body: Mapping[str, Any], former: NonRootPolicy | NonRootException | None = None) -> StoredObject:
    """Convert an object of the API server, which is never an error: a newer version may have written it.

    A policy that cannot be used must not end what it enforces: `former`, the version that was in force until now, stays,
    or else the one that the controller has noted in its status. An exception that is not wholly understood exempts nothing.
    """
    metadata, kind = body["metadata"], body.get("kind")
    name = f"{kind} " + "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))
    document, unknown = known_fields(dict(body)) if kind == "NonRootPolicy" else (dict(body), ())
    try:
        return StoredObject(name, read(document, "the cluster"), unknown_fields=unknown)
    except InvalidDocument as error:
        last = (former or _last_usable(document)) if kind == "NonRootPolicy" else None
        return StoredObject(name, last, str(error))


def _last_usable(document: dict[str, Any]) -> NonRootPolicy | NonRootException | None:
    """The version of a policy that `PolicyStatus.last_usable` holds, as it is stored."""
    try:
        restored, _ = known_fields({**document, "spec": document["status"]["lastUsable"]})
        return read(restored, "the status")
    except (KeyError, TypeError, InvalidDocument):
        return None


def in_force(objects: Iterable[StoredObject]) -> Documents:
    """The policies and exceptions that count, of all objects that there are."""
    documents = [each.document for each in objects]
    return Documents(
        tuple(each for each in documents if isinstance(each, NonRootPolicy)),
        tuple(each for each in documents if isinstance(each, NonRootException)),
    )


class PolicyCache:
    """The newest snapshot of a cluster, which is replaced as a whole.

    While the API server is away the last one stays, and `age` says for how long nothing has confirmed it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._snapshot: PolicySnapshot | None = None
        self._synced: dict[str, float] = {}
        self.problems: Mapping[str, str] = {}  # by kind and name, the objects that cannot be used as they are

    def replace(
        self,
        namespaces: Iterable[Namespace],
        objects: Iterable[StoredObject],
    ) -> None:
        """Replace what is known by all there is now."""
        stored = tuple(objects)
        self.problems = {each.name: each.problem for each in stored if each.problem}
        self._snapshot = PolicySnapshot(in_force(stored), {each.name: each for each in namespaces})

    def mark_synced(self, resource: str) -> None:
        """Note that the stream of changes of a resource, such as `namespaces`, is alive now."""
        self._synced[resource] = self._clock()

    @property
    def ready(self) -> bool:
        """Whether there has been a first full view."""
        return self._snapshot is not None

    @property
    def age(self) -> float:
        """Seconds since the least recently confirmed stream was; infinite before the first."""
        return self._clock() - min(tuple(self._synced.values()), default=-math.inf)

    def knows(self, namespace: str) -> bool:
        """Whether a namespace has been seen."""
        return self._snapshot is not None and self._snapshot.knows(namespace)

    @property
    def may_enforce(self) -> bool:
        """Whether any policy enforces, or none is known yet."""
        return self._snapshot is None or self._snapshot.may_enforce

    def effective_policy(self, namespace: str) -> EffectivePolicy:
        """The policy in force for a namespace; the built-in one before the first view."""
        if self._snapshot is None:
            return EffectivePolicy(BUILT_IN, BUILT_IN.spec.mode, "nothing is known of the cluster yet")
        return self._snapshot.effective_policy(namespace)

    def exceptions(self, namespace: str, workload: Workload | None = None) -> tuple[NonRootException, ...]:
        """The exceptions in a namespace, expired ones included; of a workload, at least those that are about it."""
        return self._snapshot.exceptions(namespace, workload) if self._snapshot is not None else ()
