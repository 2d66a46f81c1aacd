"""The one error that this package raises on purpose: its text is for the person at the keyboard."""


class ClusterError(Exception):
    """Something outside our code stopped us; the message says what, and what to look at."""
