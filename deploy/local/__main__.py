"""`python -m deploy.local build|up|down|status|env|smoke`."""

import argparse
import shlex
import sys
import time
from pathlib import Path

from . import apt, build, cluster, smoke
from .errors import ClusterError


def main() -> int:
    """Do one command; a failure is one message, not a traceback."""
    try:
        arguments = _arguments()
        return _do(arguments.command, arguments.state, arguments.tools)
    except ClusterError as exc:
        print(f"deploy.local: {exc}", file=sys.stderr)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=cluster.__doc__)
    parser.add_argument("--state", type=Path, help="the cluster's folder (default: in the cache)")
    commands = parser.add_subparsers(dest="command", required=True)
    tools = commands.add_parser("build", help="build and install what is missing")
    tools.add_argument("tools", nargs="*", metavar="TOOL", help=", ".join(build.tools()))
    commands.add_parser("up", help="start the cluster, or what is missing of it")
    commands.add_parser("down", help="end it and remove its state")
    commands.add_parser("status", help="say what runs; exit status 1 unless all of it does")
    commands.add_parser("env", help='shell exports: eval "$(python -m deploy.local env)"')
    commands.add_parser("smoke", help="check that Pods, Services, logs and exec work")
    parser.set_defaults(tools=[])
    return parser.parse_args()


def _do(command: str, state: Path | None, tools: list[str]) -> int:
    began = time.monotonic()
    match command:
        case "build":
            if unknown := set(tools) - set(build.tools()):
                raise ClusterError(f"no such tool: {', '.join(sorted(unknown))}")
            build.ensure(tools, print)
            if not tools and (names := apt.install()):
                print(f"installed {', '.join(names)}")
            for tool in build.tools().values():
                print(f"{tool.name:14} {tool.folder if tool.built else 'not built'}")
        case "up":
            started = cluster.up(state, print)
            print(f"up in {time.monotonic() - began:.1f} s; to use it:\n")
            _exports(started)
        case "down":
            cluster.down(state, print)
            print(f"down in {time.monotonic() - began:.1f} s")
        case "status":
            parts = cluster.status(state)
            for name, pid in parts.items():
                print(f"{name:24} {pid or 'not running'}")
            return 0 if all(parts.values()) else 1
        case "env":
            _exports(_running(state))
        case "smoke":
            smoke.check(_running(state), print)
            print(f"all well, {time.monotonic() - began:.1f} s")
    return 0


def _running(state: Path | None) -> cluster.Cluster:
    if found := cluster.running(state):
        return found
    raise ClusterError("no cluster runs: python -m deploy.local up")


def _exports(started: cluster.Cluster) -> None:
    for name, value in started.environment().items():
        print(f"export {name}={shlex.quote(value)}")


sys.exit(main())
