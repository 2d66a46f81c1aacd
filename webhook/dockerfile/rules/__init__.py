"""Every rule about Dockerfiles, in the order in which findings are listed. A rule is a module: NAME, and check."""

from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.dockerfile.rules import (
    administrator_user,
    impossible_user,
    inherited_user,
    low_port,
    name_in_user,
    root_final_stage,
    root_step,
    unfixed_uid,
    unowned_files,
    user_out_of_range,
)

RULES = (
    root_final_stage,
    inherited_user,
    user_out_of_range,
    impossible_user,
    name_in_user,
    unfixed_uid,
    root_step,
    unowned_files,
    low_port,
    administrator_user,
)


def check(evaluation: Evaluation) -> tuple[DockerfileFinding, ...]:
    """The findings of all rules about one Dockerfile.

    For Windows only about the administrator, because its users are no numbers.
    """
    if evaluation.windows:
        return tuple(administrator_user.check(evaluation))
    return tuple(found for rule in RULES for found in rule.check(evaluation))
