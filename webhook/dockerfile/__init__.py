"""Dockerfiles: the USER that the built image will have, what is wrong with it, and the table of good practice.

`evaluate` reads a Dockerfile as BuildKit does, without building it and without any I/O; the rules and the table are
pure functions over its answer.

The parser is our own, and small. A maintained library was preferred and measured: dockerfile-parse 2.0.1 got one of
six cases fully right (it takes a heredoc's body for instructions, leaves `${X:-1000}` in USER as it stands, and does
not follow a chain of stages). A wrong USER is worse than none here, so this one follows moby/buildkit to the letter,
and the tests compare the two on every build.
"""

from webhook.dockerfile.analysis.uid import ResolvedUid
from webhook.dockerfile.evaluation import Evaluation, evaluate
from webhook.dockerfile.parser.malformed import Malformed
from webhook.dockerfile.stages.state import Base

__all__ = ["Base", "Evaluation", "Malformed", "ResolvedUid", "evaluate"]
