"""SARIF output, against the official schema."""

import json
import re
import subprocess
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.unit.cli.output.test_formats import sarif


def test_sarif_is_as_the_official_schema_says() -> None:
    """The schema comes out of the source of a Go module that carries it."""
    module = "github.com/owenrumney/go-sarif/v3@v3.3.1"
    outcome = subprocess.run(
        ["go", "mod", "download", "-json", module], check=True, capture_output=True, text=True, cwd="/"
    )
    source = (Path(json.loads(outcome.stdout)["Dir"]) / "pkg/report/v210/sarif/schema.go").read_text()
    found = re.search(r"`(\{.*\})\s*`", source, re.DOTALL)
    assert found is not None
    schema = json.loads(found[1])
    jsonschema.Draft4Validator(schema).validate(sarif())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema).validate({**sarif(), "unknown": 1})
