"""The Kubernetes client library, as far as it is used: without its synchronous half.

`kubernetes/__init__.py` imports everything, and with it requests, oauthlib and urllib3: 10 MiB and 0.1 s of CPU in every replica.
So the two packages around what is used are made here, and their own `__init__` is not run.
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

from kubernetes.aio import config  # noqa: E402  # see above
from kubernetes.aio.client.api_client import ApiClient  # noqa: E402
from kubernetes.aio.client.configuration import Configuration  # noqa: E402
from kubernetes.aio.client.rest import RESTResponse  # noqa: E402

__all__ = ["ApiClient", "Configuration", "RESTResponse", "config"]
