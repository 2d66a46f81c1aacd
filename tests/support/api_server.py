"""An API server, asked by HTTP over connections that stay open, where kubectl would be one more process each time."""

import functools
import re
from typing import Any
from urllib.parse import urlencode

import msgspec
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import load_kube_config
from urllib3 import Retry
from urllib3.exceptions import HTTPError

JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
DISCOVERY = f"{JSON};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What is answered "come again later" is asked again. Source: k8s.io/client-go rest/with_retry.go
RETRIES = Retry(10, connect=0, read=0, other=0, allowed_methods=None, raise_on_status=False)
_WARNING = re.compile(r'299 \S+ "((?:[^"\\]|\\.)*)"')

Object = dict[str, Any]


class Refused(Exception):
    """The API server, or kubectl, said no; the text is what the user sees, `status` the code of HTTP where it is known."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Absent(Refused):
    """There is no such object, or no such kind."""


class Answer(msgspec.Struct, frozen=True):
    """What came of a request, and the warnings that came with it, as kubectl prints them."""

    body: bytes
    warnings: tuple[str, ...]

    @property
    def object(self) -> Object:
        """The object in it, or the list."""
        return msgspec.json.decode(self.body, type=Object)


class Resource(msgspec.Struct, frozen=True):
    """Where the objects of a kind are."""

    version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """That of an object; without a name, of the list."""
        parts = ("apis" if "/" in self.version else "api", self.version)
        within = ("namespaces", namespace) if self.namespaced and namespace else ()
        return "/" + "/".join(filter(None, (*parts, *within, self.plural, name)))


class ApiServer:
    """The one of a kubeconfig. A kind is named as in `kubectl get`: `pods`, `reports.openreports.io`."""

    def __init__(self, kubeconfig: str) -> None:
        configuration = Configuration()
        configuration.retries = RETRIES
        load_kube_config(config_file=kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
        self._client = ApiClient(configuration)
        self._resources: dict[str, Resource] = {}

    def call(
        self, method: str, path: str, body: object = None, *, content_type: str = JSON, accept: str = JSON
    ) -> Answer:
        """One request; `Refused` with the warnings and the API server's words where it fails."""
        headers = {"Accept": accept, "Content-Type": content_type}
        request = self._client.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            answer = self._client.call_api(*request)
            data: bytes = answer.read()  # type: ignore[no-untyped-call]
        except HTTPError as error:
            raise Refused(str(error)) from error
        quoted = (each for line in answer.headers.getlist("Warning") for each in _WARNING.findall(line))
        warnings = tuple("Warning: " + re.sub(r"\\(.)", r"\1", each) for each in quoted)
        if answer.status >= 400:
            refusal = Absent if answer.status == 404 else Refused
            raise refusal("\n".join((*warnings, _message(data))), answer.status)
        return Answer(data, warnings)

    def read(self, kind: str, name: str, namespace: str = "") -> Object:
        """One object."""
        return self.call("GET", self.resource(kind).path(namespace, name)).object

    def objects(self, kind: str, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """Objects of a kind, in one namespace or in all, which these selectors select."""
        resource = self.resource(kind)
        query = urlencode({"labelSelector": labels, "fieldSelector": fields})
        items = self.call("GET", f"{resource.path(namespace)}?{query}").object["items"]
        return [{"apiVersion": resource.version, "kind": resource.kind, **each} for each in items]

    def create(self, made: Object, namespace: str, *, dry_run: bool = False) -> Answer:
        """Create an object, in `namespace` where it names none. No field may be unknown."""
        path = self.resource(f"{made['apiVersion']}/{made['kind']}").path(made["metadata"].get("namespace", namespace))
        return self.call("POST", f"{path}?fieldValidation=Strict{'&dryRun=All' if dry_run else ''}", made)

    def resource(self, word: str) -> Resource:
        """The kind of that name, or of `VERSION/KIND`."""
        if word not in self._resources:
            self._resources = self._discover()
        if word not in self._resources:
            raise Absent(f"the server has no resource {word!r}")
        return self._resources[word]

    def _discover(self) -> dict[str, Resource]:
        """Every kind by its names. A name of several is that of the first: the core's, and of the preferred version."""
        found: dict[str, Resource] = {}
        lists = (self.call("GET", root, accept=DISCOVERY).object for root in ("/api", "/apis"))
        for group in (each for one in lists for each in one["items"]):
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                full = f"{name}/{version['version']}".removeprefix("/")
                for each in version.get("resources", ()):
                    kind, plural = each["responseKind"]["kind"], each["resource"]
                    made = Resource(full, kind, plural, each["scope"] == "Namespaced")
                    for word in (plural, each.get("singularResource"), f"{plural}.{name}", f"{full}/{kind}"):
                        found.setdefault(word, made)
        return found


def _message(data: bytes) -> str:
    """The words of a Status, or of whoever is asked through the API server."""
    try:
        return str(msgspec.json.decode(data)["message"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return data.decode(errors="replace")


@functools.cache
def api_server(kubeconfig: str) -> ApiServer:
    """The same one each time, so that its connections are used again."""
    return ApiServer(kubeconfig)
