"""A circuit breaker: after some failures in a row a host is left alone for a while, so that callers fail at once.

When the while is over one caller tries, the others still fail; its success closes the circuit, its failure opens it
again.
"""

from collections import OrderedDict
from collections.abc import Callable

import msgspec

_HOSTS = 4096


class _Circuit(msgspec.Struct):
    failures: int = 0
    open_until: float = 0.0


class Breaker:
    """One circuit per host. `seconds` is how long it stays open after `threshold` failures in a row."""

    def __init__(self, seconds: float, clock: Callable[[], float], threshold: int = 4) -> None:
        self._seconds = seconds
        self._clock = clock
        self._threshold = threshold
        self._circuits: OrderedDict[str, _Circuit] = OrderedDict()

    def allows(self, host: str) -> bool:
        """Whether to try; where the while has just passed, the one who asks is the one who tries."""
        circuit = self._circuits.get(host)
        if circuit is None or circuit.failures < self._threshold:
            return True
        now = self._clock()
        if now < circuit.open_until:
            return False
        circuit.open_until = now + self._seconds
        return True

    def succeeded(self, host: str) -> None:
        """The host answered, whatever it said."""
        self._circuits.pop(host, None)

    def failed(self, host: str) -> None:
        """The host could not be reached, broke off or said that it is broken."""
        circuit = self._circuits.setdefault(host, _Circuit())
        self._circuits.move_to_end(host)
        circuit.failures += 1
        circuit.open_until = self._clock() + self._seconds
        if len(self._circuits) > _HOSTS:
            self._circuits.popitem(last=False)
