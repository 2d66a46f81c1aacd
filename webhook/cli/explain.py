"""The command `nonroot explain`."""

import click


def _rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from webhook.cli import rule_docs

    return [name for name in rule_docs.names() if name.startswith(incomplete)]


@click.command()
@click.argument("rules", nargs=-1, metavar="[RULE…]", shell_complete=_rules)
@click.option(
    "-o", "--output", "form", default="text", show_default=True, type=click.Choice(["text", "markdown", "json"])
)
def explain(rules: tuple[str, ...], form: str) -> None:
    """Say what each RULE is about, what fails it and how to fix that; without RULE, list them all.

    RULE may also be what the kubelet or a runtime said, such as "container has runAsNonRoot and image will run as root".
    """
    from webhook.cli import rule_docs

    pages = [rule_docs.find(rule) for rule in rules]
    if form == "json":
        from webhook import json_output

        pages = pages or [rule_docs.page(name) for name in rule_docs.names()]
        documents = [
            {"rule": each.name, "title": each.title, "url": each.url, "sections": dict(each.sections)} for each in pages
        ]
        click.echo(json_output.text({"version": 1, "rules": documents}), nl=False)
        return
    if form == "markdown":
        pages = pages or [rule_docs.page(name) for name in rule_docs.names()]
        click.echo("\n\n".join(f"## {each.name}\n\n{each.markdown}" for each in pages))
        return
    if pages:
        click.echo("\n\n".join(f"{each.name}\n\n{each.text}\n\n{each.url}" for each in pages))
        return
    width = max(map(len, rule_docs.names()))
    for name in rule_docs.names():
        click.echo(f"{name:{width}}  {rule_docs.page(name).title}")
