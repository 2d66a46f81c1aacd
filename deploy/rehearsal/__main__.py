"""`make rehearse-release`: run the release job on this machine for the commit that is checked out, and use what it made."""

import sys
import tempfile
from pathlib import Path

from deploy import release
from deploy.dev.images.build import BuildError
from deploy.local import build, cluster, commands
from deploy.local.errors import ClusterError

from . import job, users
from .workflow import ROOT


def main() -> int:
    """The exit code: 0 when a user could verify, start and install what the job made."""
    if commands.run("git", "status", "--porcelain", cwd=ROOT):
        print("this checkout has changes that are not committed; they are not rehearsed")
    try:
        with tempfile.TemporaryDirectory(prefix="nonroot-rehearsal-") as folder, job.run(Path(folder), print) as made:
            _use(made)
    except (BuildError, ClusterError, release.ReleaseError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"left to GitHub: signing by the workflow's identity, the release itself, {', '.join(made.skipped)}")
    return 0


def _use(made: job.Release) -> None:
    for line, _ in users.verify(made):
        print(f"verified: {line}")
    for architecture in made.images:
        printed = users.start(made, architecture)
        print(f"started: {made.image} for {architecture}: {printed['machine']}, {printed['version']}")
    build.ensure(say=print)
    with cluster.borrowed(say=print) as running:
        pod = users.install(made, running)
    (container,) = pod["status"]["containerStatuses"]
    print(f"installed: {made.chart}, whose Pods run {container['imageID']}")


commands.interrupt_on_termination()
sys.exit(main())
