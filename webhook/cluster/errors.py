"""The errors of calls to the Kubernetes API, and which of them an answer comes to.

ClusterError        the message names the object, the reason and the next step
├── Forbidden       RBAC does not let us
├── Denied          the API server does not take this one object: invalid, or an admission policy is against it
│   └── Terminating its namespace is being deleted, and takes nothing new
├── Conflict        somebody else wrote in between; look again
│   └── Absent      there is no such object, or no such kind
├── Expired         a list went on for longer than the API server remembers
└── Unreachable     the API server did not answer, or not as an API server does
    └── Busy        it asks to come again later
"""

import re
from collections.abc import Mapping

import msgspec

from webhook.cluster.object_meta import ListMetadata
from webhook.errors import NonrootError

RETRY_AFTER_LIMIT = 60.0  # seconds that we let the API server keep us waiting

# What tells RBAC from admission, which answers 403 as well: k8s.io/apiserver
# pkg/endpoints/handlers/responsewriters/errors.go (ForbiddenMessage).
_LACKS_RIGHT = re.compile(r'User ".*" cannot ', re.DOTALL)


class ClusterError(NonrootError):
    """A call to the Kubernetes API that did not do what it should."""


class Forbidden(ClusterError):
    """RBAC does not allow the call."""


class Denied(ClusterError):
    """The API server does not take this one object; what is said of any other is another matter."""


class Terminating(Denied):
    """The object's namespace is being deleted. Source: kubernetes plugin/pkg/admission/namespace/lifecycle/admission.go."""


class Conflict(ClusterError):
    """The object is not, or no longer, as it was when it was read."""


class Absent(Conflict):
    """There is no such object, or the API server does not know its kind."""


class Unreachable(ClusterError):
    """There was no answer, or none that an API server in order gives."""


class Busy(Unreachable):
    """The API server has too much to do; `retry_after` is in how many seconds it wants to be asked again."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Expired(ClusterError):
    """A list is older than the API server remembers; `token` asks for the rest of it as it is now."""

    def __init__(self, message: str, token: str) -> None:
        super().__init__(message)
        self.token = token


class _Status(msgspec.Struct):
    message: str = ""
    metadata: ListMetadata = ListMetadata()


def refusal(status: int, headers: Mapping[str, str], method: str, what: str, answer: bytes) -> ClusterError:
    """The error of a call that the API server has answered with this status; `what` names the object."""
    try:
        body = msgspec.json.decode(answer, type=_Status)
    except msgspec.DecodeError:
        body = _Status()
    reason = f"{what}: {method} was answered {status} {body.message[:500]}".rstrip()
    match status:
        case 403 if "because it is being terminated" in body.message:
            return Terminating(reason)
        case 403 if method != "GET" and body.message and not _LACKS_RIGHT.search(body.message):
            return Denied(reason)
        case 400 | 405 | 413 | 415 | 422:
            return Denied(reason)
        case 401 | 403:
            return Forbidden(f"{reason}; check the RBAC of the ServiceAccount")
        case 404:
            return Absent(reason)
        case 409:
            return Conflict(reason)
        case 410:
            return Expired(reason, body.metadata.token)
        case _:
            seconds = headers.get("Retry-After", "")
            if seconds.isascii() and seconds.isdigit():
                return Busy(reason, min(float(seconds), RETRY_AFTER_LIMIT))
            return Busy(reason, 1.0) if status == 429 else Unreachable(reason)
