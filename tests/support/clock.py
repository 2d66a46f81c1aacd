"""A clock that a test sets."""


class Clock:
    """Seconds, as time.monotonic gives them."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now
