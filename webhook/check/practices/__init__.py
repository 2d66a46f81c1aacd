"""The status table of `nonroot check --table`: one row for each practice, with one blunt line about this file.

The rows are pure functions over what was read already; which files belong together is the command line's business.
"""

from webhook.check.practices import compose, dockerfile, nginx, workload
from webhook.check.practices.row import BuildContext, Row, Status

__all__ = ["BuildContext", "Row", "Status", "compose", "dockerfile", "nginx", "workload"]
