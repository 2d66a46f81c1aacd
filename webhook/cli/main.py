"""The command `nonroot`. Imports are lazy: each command loads only what it needs."""

import contextlib
import errno
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

import webhook
from webhook.errors import NonrootError

_COMMANDS = ("check", "explain", "fix", "inspect", "operate", "policy", "scan", "serve", "why")


_EXTRAS = {"serve": "server", "operate": "controller"}  # of pyproject.toml; the other commands need `cluster` at most


class _Group(click.Group):
    """Loads a command when it is asked for: `webhook.cli.NAME` holds `NAME`.

    Turns our own errors into one line and exit code 2; only bugs show a stack trace.
    """

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002  # click's own signature
        return list(_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in _COMMANDS:
            command: click.Command = getattr(import_module(f"webhook.cli.{name}"), name)
            return command
        return super().get_command(context, name)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not context.resilient_parsing:
            from difflib import get_close_matches

            if near := get_close_matches(args[0], _COMMANDS, n=1):
                context.fail(f"No such command {args[0][:80]!a}. Did you mean {near[0]}?")
        return super().resolve_command(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except NonrootError as error:
            click.echo(f"nonroot: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)  # click would say 1, which means findings
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # click ends quietly where nobody reads on
            _end(f"nonroot: {error.strerror or error}{f': {error.filename!a}' if error.filename else ''}", 2)
        except ModuleNotFoundError as error:
            if os.environ.get("NONROOT_DEBUG") or (error.name or "webhook").startswith("webhook"):
                raise
            extra = _EXTRAS.get(context.invoked_subcommand or "", "cluster")
            needs = f"nonroot: this needs the package {error.name}, which is not installed"
            click.echo(f"{needs}: pip install 'nonroot-webhook[{extra}]'", err=True)
            sys.exit(2)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except Exception as error:
            if os.environ.get("NONROOT_DEBUG"):
                raise
            kind = type(error).__name__
            _end(
                f"nonroot: a fault of ours: {kind}: {error}; run it with NONROOT_DEBUG=1 and report what that shows", 70
            )


def _end(message: str, code: int) -> NoReturn:
    """Say why on standard error, where that can be, and exit at once: nothing more is written to a full disk."""
    with contextlib.suppress(OSError):
        click.echo(message.encode("utf-8", "backslashreplace").decode(), err=True)
    os._exit(code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(webhook.__version__, prog_name="nonroot")
def main() -> None:
    """Know who a container will really run as."""
