"""The exceptions of this package, as one tree.

    NonrootError
    ├── MalformedReview     the AdmissionReview cannot be read; answered with its HTTP status
    │   └── MalformedObject its object cannot be read; answered inside the review
    ├── InvalidDocument     a NonRootPolicy or NonRootException is wrong; names document and field
    ├── InvalidReference    the text is no image reference
    ├── InvalidSetting      a flag or file given at start is unusable
    └── MalformedImage      a manifest, config or layer that a runtime would refuse, or that two could read differently

"Not known" is not here: it is a value, `webhook.image.source.Unknown`, and the policy decides what it means.
"""


class NonrootError(Exception):
    """The message names the thing, the reason and the next step; it never holds a credential."""


class MalformedReview(NonrootError):
    """The request is no AdmissionReview that we can answer; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class MalformedObject(MalformedReview):
    """The object in an AdmissionReview is one that no API server would store."""


class InvalidDocument(NonrootError):
    """A policy document that cannot be used."""


class InvalidReference(NonrootError):
    """A text that distribution/reference would not take as an image reference."""


class InvalidSetting(NonrootError):
    """A flag, file or environment value that cannot be used."""


class MalformedImage(NonrootError):
    """Image content that is wrong or ambiguous; always refused, never guessed."""
