"""The configuration file of the command line: `.nonroot.yaml`, here or in a folder above within the repository.

policy: [policies/]               # files with NonRootPolicy and NonRootException documents, as for --policy
exclude: ["vendor/", "*.gen.yaml"] # patterns as in .gitignore, as for --exclude
rules: {low-port: off, name-in-user: error}
"""

from pathlib import Path
from typing import Literal

import msgspec

from webhook.check.manifest.decode import plain
from webhook.check.manifest.parser import MalformedYaml, documents
from webhook.check.report import Finding, Report, Suppressed
from webhook.errors import InvalidSetting
from webhook.text import describe_error

NAME = ".nonroot.yaml"
_LIMIT = 1024 * 1024


class Configuration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The contents of the configuration file; paths in it are relative to its folder."""

    policy: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    rules: dict[str, Literal["off", "error", "warning", "note"]] = {}

    def applied(self, report: Report) -> Report:
        """The report with the severities of the file, and without the rules that are off, which count as allowed."""
        if not self.rules:
            return report
        kept = [each for each in report.findings if self.rules.get(each.rule) != "off"]
        off = [
            Suppressed(each, "external", f"off in {NAME}")
            for each in report.findings
            if self.rules.get(each.rule) == "off"
        ]
        return msgspec.structs.replace(
            report,
            findings=tuple(map(self._severity, kept)),
            allowed=report.allowed + len(off),
            suppressed=(*report.suppressed, *off),
        )

    def _severity(self, finding: Finding) -> Finding:
        severity = self.rules.get(finding.rule)
        if severity is None or severity == "off" or finding.severity == "unknown":
            return finding
        return msgspec.structs.replace(finding, severity=severity)


def load() -> tuple[Configuration, Path]:
    """The file that applies here and its folder; `InvalidSetting` says what is wrong with it."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        path = folder / NAME
        if path.is_file():
            return _read(path), folder
        if (folder / ".git").exists():
            break
    return Configuration(), here


def _read(path: Path) -> Configuration:
    from webhook.cli import rule_docs

    try:
        with path.open("rb") as file:
            data, *more = [plain(each) for each in documents(file.read(_LIMIT).decode())] or [None]
        if more:
            raise InvalidSetting(f"cannot use {str(path)!a}: it holds more than one document")
        if isinstance(data, dict) and isinstance(data.get("rules"), dict):  # `off` is false in YAML
            data["rules"] = {name: "off" if value is False else value for name, value in data["rules"].items()}
        found = msgspec.convert(data or {}, Configuration)
    except msgspec.ValidationError as error:
        raise InvalidSetting(f"cannot use {str(path)!a}: {describe_error(error, Configuration)}") from None
    except (OSError, ValueError, MalformedYaml) as error:
        raise InvalidSetting(f"cannot use {str(path)!a}: {' '.join(str(error).split())}") from None
    for name in found.rules:
        rule_docs.page(name)
    return found
