"""`python -m deploy.kind up|down|run COMMAND…|around COMMAND…`: a kind cluster, with the webhook enforcing or for tests.

With Docker and Docker Hub in reach it is up.sh with kind's own node images. Otherwise the cluster is of images that are made
here, in a Docker of its own that reaches nothing (engine.py): as root, on Debian or Ubuntu.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

from deploy.dev.images.build import BuildError, build_all, build_product
from deploy.local import build, commands
from deploy.local.errors import ClusterError

from . import engine, offline, programs

PROBE = "registry:2.8.3"  # cluster.sh's registry, and the smallest image that is needed from Docker Hub
NEXT = """
It is in a network of its own. For a shell in there, where the commands above work:

    {python} -m deploy.kind run bash

`make kind-down` ends it; the images of its nodes stay in {state}.
"""


def main() -> int:
    """Do one command; a failure is one message, not a traceback."""
    arguments = _arguments()
    commands.interrupt_on_termination()
    try:
        match arguments.verb:
            case "up":
                with engine.alone():
                    return _up()
            case "down":
                with engine.alone():
                    return _down()
            case "around":
                return _around(arguments.words)
            case _:
                return offline.call(arguments.words)
    except (BuildError, ClusterError) as error:
        print(f"deploy.kind: {error}", file=sys.stderr)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.kind", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("up", help="start the cluster, with the webhook in it")
    verbs.add_parser("down", help="end it, and all that was started for it")
    for verb, text in (
        ("run", "run a command in the network of the cluster that is up"),
        ("around", "run a command with a cluster without the webhook around it, and end that"),
    ):
        verbs.add_parser(verb, help=text).add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser.parse_args()


def _up() -> int:
    if engine.running() is None and _docker_hub_in_reach():
        return _script("up.sh")
    version = offline.kubernetes()
    engine.start()
    code = offline.call([offline.SCRIPTS / "up.sh"], offline.release(version, print))
    if code == 0:
        print(NEXT.format(python=sys.executable, state=engine.state()))
    return code


def _down() -> int:
    if engine.left() or not _docker_answers():
        engine.stop()
        return 0
    return _script("down.sh")


def _around(words: Sequence[str]) -> int:
    """The images are built before, because the command has no network to build them with."""
    version = offline.kubernetes()
    build.ensure(say=print)
    with engine.borrowed():
        environment = offline.cluster(version, print)
        build_all()
        build_product()
        return offline.call(words, offline.access(environment))


def _script(name: str) -> int:
    """Run a script with the user's Docker, and with programs of ours where the user has none."""
    needed = {"kind": programs.KIND, "kubectl": build.tools()["kubernetes"], "helm": build.tools()["helm"]}
    missing = [tool for program, tool in needed.items() if shutil.which(program) is None]
    programs.ensure(*missing, say=print)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *(str(tool.folder) for tool in missing)])
    return subprocess.call([offline.SCRIPTS / name], env=os.environ | {"PATH": path})


def _docker_answers() -> bool:
    return shutil.which("docker") is not None and _succeeds("docker", "info")


def _docker_hub_in_reach() -> bool:
    return _docker_answers() and _succeeds("docker", "pull", PROBE)


def _succeeds(*words: str) -> bool:
    return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
