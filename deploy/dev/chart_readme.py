"""The generated parts of the chart: tables of its README, and the schema of the value `policies`.

    python -m deploy.dev.chart_readme    # writes them; a test says when it has been forgotten

README's tables are of values, from values.yaml and its comments, and of metrics, from the code. A policy among the values
is checked by the schema of the CRD, so that Helm refuses a typing error which would otherwise apply to all namespaces.

A comment that begins with `# --` describes the key under it. A map whose keys have descriptions of their own is a
heading; every other described key is a row, with its default as YAML.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from webhook import metrics
from webhook.metrics import Family

CHART = Path(__file__).resolve().parents[2] / "charts" / "nonroot-webhook"
README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
POLICIES = CHART / "files" / "crds" / "nonrootpolicies.yaml"
BEGIN = "<!-- {}: begin; made by python -m deploy.dev.chart_readme -->"
END = "<!-- {}: end -->"
BAR = r"\|"  # a bar that does not end a cell


class Value(msgspec.Struct, frozen=True):
    """One documented value: its dotted path, its default as it would be written, and what it is for."""

    path: str
    default: str
    description: str


class MissingDescription(Exception):
    """A value has no comment that begins with `# --`; the text is its path."""


def documented(text: str) -> Iterator[Value]:
    """The values of a values.yaml, in its order; `MissingDescription` where one has none."""
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        raise MissingDescription("the whole file: it is no map")
    yield from _values(root, "", text.splitlines())


def _values(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        description = _description(lines, key.start_mark.line)
        if description:
            yield Value(path, _default(value), description)
        elif isinstance(value, yaml.MappingNode) and value.value:
            yield from _values(value, f"{path}.", lines)
        else:
            raise MissingDescription(path)


def _description(lines: list[str], line: int) -> str:
    """The comment that ends just above `line`, from its `# --` on."""
    found: list[str] = []
    while line > 0 and (comment := lines[line - 1].strip()).startswith("#"):
        line -= 1
        if comment.startswith("# --"):
            return " ".join([comment.removeprefix("# --").strip(), *reversed(found)])
        found.append(comment.removeprefix("#").strip())
    return ""


def _default(node: yaml.Node) -> str:
    plain = yaml.safe_load(yaml.serialize(node))
    return json.dumps(plain, ensure_ascii=False)


def table(text: str) -> str:
    """The table as Markdown."""
    lines = ["| Value | Default | What it is |", "|---|---|---|"]
    for value in documented(text):
        cells = (f"`{value.path}`", f"`{value.default}`", value.description)
        lines.append(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")
    return "\n".join(lines)


def metrics_tables() -> str:
    """Every metric as Markdown, first those of admission."""
    return "\n\n".join(
        "\n".join(
            [f"{title}:", "", "| Metric | Type | Labels | What it is |", "|---|---|---|---|", *map(_metric, families)]
        )
        for title, families in (("Admission", metrics.ADMISSION), ("Controller", metrics.CONTROLLER))
    )


def _metric(family: Family) -> str:
    labels = "<br>".join(f"`{name}`: {values}" for name, values in family.labels.items())
    return f"| `{family.name}` | {family.kind} | {labels} | {family.text} |"


def filled_in(readme: str, text: str) -> str:
    """`readme` with its tables between their marks; `text` is the values.yaml."""
    for name, content in (("values", table(text)), ("metrics", metrics_tables())):
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = readme.partition(begin)
        _, _, after = rest.partition(end)
        readme = f"{before}{begin}\n{content}\n{end}{after}"
    return readme


def strict(schema: Any) -> Any:
    """A CRD's schema as JSON Schema that refuses unknown fields, without what only an API server reads."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: {name: strict(each) for name, each in value.items()} if key == "properties" else strict(value)
        for key, value in schema.items()
        if key not in {"description", "default"} and not key.startswith("x-kubernetes-")
    }
    return (
        {**made, "additionalProperties": False} if "properties" in made and "additionalProperties" not in made else made
    )


def with_policies(schema: str, crd: str) -> str:
    """The values' schema with the spec of a policy as the CRD has it."""
    values = json.loads(schema)
    spec = yaml.safe_load(crd)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    values["properties"]["policies"]["items"]["properties"]["spec"] = strict(spec)
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(with_policies(SCHEMA.read_text(), POLICIES.read_text()))
    README.write_text(filled_in(README.read_text(), (CHART / "values.yaml").read_text()))
