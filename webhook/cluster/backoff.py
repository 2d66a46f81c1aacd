"""Exponential backoff with jitter, for attempts that fail.

Source: k8s.io/client-go tools/cache/reflector.go (DefaultBackoff).
"""

import random

FIRST_PAUSE = 1.0  # seconds
LONGEST_PAUSE = 30.0  # seconds, unless the other side asks for more


class Backoff:
    """Counts failures in a row."""

    def __init__(self) -> None:
        self.failures = 0

    def next(self, at_least: float = 0.0) -> float:
        """The seconds to wait after one more failure, with up to half as much again at random."""
        pause = min(FIRST_PAUSE * 2.0 ** min(self.failures, 16), LONGEST_PAUSE)
        self.failures += 1
        return max(pause, at_least) * random.uniform(1.0, 1.5)  # noqa: S311 - it spreads load, and hides nothing

    def reset(self) -> None:
        """Note that it works again."""
        self.failures = 0
