"""The command `nonroot explain`."""

import click


def _rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from webhook.cli import rule_docs

    return [name for name in rule_docs.names() if name.startswith(incomplete)]


@click.command()
@click.argument("rule", required=False, shell_complete=_rules)
def explain(rule: str | None) -> None:
    """Say what a RULE is about, what fails it and how to fix that; without RULE, list them all."""
    from webhook.cli import rule_docs

    if rule is not None:
        click.echo(f"{rule}\n\n{rule_docs.page(rule).text}")
        return
    width = max(map(len, rule_docs.names()))
    for name in rule_docs.names():
        click.echo(f"{name:{width}}  {rule_docs.page(name).title}")
