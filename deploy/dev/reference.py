"""The reference pages of the documentation, made from what they describe: `python -m deploy.dev.reference`.

Rules come from their docstrings, the kinds from their CRDs, the command line from click, values and metrics as in the
chart's README. A test says when a page has been forgotten.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from deploy.dev import chart_readme
from deploy.dev.chart_readme import CHART
from webhook.cli import rule_docs
from webhook.cli.main import main
from webhook.dockerfile import rules as dockerfile_rules
from webhook.evaluation.documentation import rule_url

DOCS = CHART.parents[1] / "docs" / "reference"
KINDS = {
    "nonrootpolicies": "NonRootPolicy",
    "nonrootexceptions": "NonRootException",
    "imageidentities": "ImageIdentity",
}
MADE = "<!-- Made by python -m deploy.dev.reference; do not edit. -->\n"
_WIDTH = 100  # columns of a help text


def pages() -> Iterator[tuple[Path, str]]:
    """Every page below `docs/reference`, with its text."""
    yield Path("rules/index.md"), _rules()
    for name in rule_docs.names():
        yield Path(f"rules/{name}.md"), f"# {name}\n\n{rule_docs.page(name).markdown}\n"
    for plural, kind in KINDS.items():
        yield Path(f"{kind.lower()}.md"), _kind(plural, kind)
    yield Path("command-line.md"), _command_line()
    values = chart_readme.table((CHART / "values.yaml").read_text())
    yield (
        Path("values.md"),
        f"# Values of the chart\n\nWhat `values.schema.json` does not list is refused.\n\n{values}\n",
    )
    yield Path("metrics.md"), f"# Metrics\n\n{chart_readme.metrics_tables()}\n"


def _rules() -> str:
    of_dockerfiles = {module.NAME for module in dockerfile_rules.RULES}
    parts = [
        "# Rules",
        "Every finding names a rule. Its page says why the rule exists, what fails and what passes, and what to write.",
        f"Every message about a rule names the address of its page, such as `{rule_url('root-user')}`.",
        "It does not change. Where it cannot be reached, `nonroot explain RULE` prints the same.",
    ]
    for title, chosen in (("Pods and images", False), ("Dockerfiles", True)):
        rows = [
            f"| [{name}]({name}.md) | {rule_docs.page(name).title} |"
            for name in rule_docs.names()
            if (name in of_dockerfiles) is chosen
        ]
        parts += [f"## {title}", "\n".join(["| Rule | What it finds |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _kind(plural: str, kind: str) -> str:
    """The fields of a kind, from the schema of its CRD."""
    crd = yaml.safe_load((CHART / "files" / "crds" / f"{plural}.yaml").read_text())["spec"]
    (version,) = crd["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    scope = "namespaced" if crd["scope"] == "Namespaced" else "cluster-scoped"
    parts = [f"# {kind}", f"`{crd['group']}/{version['name']}`, {scope}. {schema['description']}"]
    for part in ("spec", "status"):
        if part in schema["properties"]:
            rows = list(_fields(schema["properties"][part], part))
            parts += [f"## {part}", "\n".join(["| Field | Type | Default | What it is |", "|---|---|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


def _fields(schema: dict[str, Any], path: str) -> Iterator[str]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        default = "required" if name in required else f"`{field['default']}`" if "default" in field else ""
        text = " ".join(field.get("description", "").split()).replace("|", r"\|")
        yield f"| `{where}` | {_type(field)} | {default} | {text} |"
        items = field.get("items", {})
        yield from _fields(field, where)
        yield from _fields(items, f"{where}[]")


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(f"`{each}`" for each in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"map of {_type(field['additionalProperties'])}"
    return str(field.get("type", "any"))


def _command_line() -> str:
    parts = [
        "# Command line",
        "Exit codes: 2 wrong usage, 1 findings at or above `--fail-on`, 3 something could not be determined, 0 clean.",
    ]
    context = click.Context(main, info_name="nonroot", terminal_width=_WIDTH, **main.context_settings)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        if command is not None:
            own = click.Context(command, info_name=name, parent=context, terminal_width=_WIDTH)
            parts += [f"## nonroot {name}", f"```text\n{command.get_help(own)}\n```"]
    return "\n\n".join(parts) + "\n"


def text(page: str) -> str:
    """The page as it is written: below its heading stands what makes it."""
    heading, _, rest = page.partition("\n")
    return f"{heading}\n\n{MADE}{rest}"


if __name__ == "__main__":
    for place, made in pages():
        (DOCS / place).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / place).write_text(text(made))
