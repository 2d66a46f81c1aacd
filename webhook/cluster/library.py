"""The Kubernetes client library, as far as it is used: configuration, credentials and connections.

`kubernetes/__init__.py` imports everything, and with it requests, oauthlib and urllib3: 10 MiB and 0.1 s of CPU in every replica.
So the two packages around what is used are made here, and their own `__init__` is not run. `ApiClient` costs as much once more,
for pydantic, and brings nothing but the conversion of models; `kube_config` imports it for functions that are not used here.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType


def _package(name: str, path: Sequence[str] | None = None) -> ModuleType:
    """A package from which modules can be imported; whole, where somebody has imported it before."""
    if name not in sys.modules:
        spec = PathFinder.find_spec(name, path)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.modules[name] = module_from_spec(spec)
    return sys.modules[name]


_outer = _package("kubernetes")
_outer.aio = _package("kubernetes.aio", _outer.__path__)  # type: ignore[attr-defined]  # as an import sets it

from kubernetes.aio import client as _client  # noqa: E402  # see above

_api_client = vars(_client).setdefault("ApiClient")  # which is there now: None unless somebody has imported it
from kubernetes.aio import config  # noqa: E402
from kubernetes.aio.client.configuration import Configuration  # noqa: E402
from kubernetes.aio.client.rest import RESTClientObject, RESTResponse  # noqa: E402

if _api_client is None:
    del _client.ApiClient  # whoever else asks for it imports it

__all__ = ["Configuration", "RESTClientObject", "RESTResponse", "config"]
