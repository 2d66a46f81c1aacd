"""Every rule has its documentation, cases that fail and cases that pass, and says what to do next."""

from __future__ import annotations

import importlib
import pkgutil
import re

import msgspec
import pytest

from webhook.dockerfile import Evaluation, evaluate, rules
from webhook.dockerfile.finding import DockerfileFinding

SECTIONS = ("Why:", "Fails:", "Passes:", "Fix:", "Dockerfile:", "Source:")
_APP = "FROM debian:12-slim\nRUN useradd -u 1500 app\nUSER app\n"


class Cases(msgspec.Struct, frozen=True):
    """`fails` are texts with the line and words that are found; `passes` are texts that this rule has nothing against."""

    fails: tuple[tuple[str, int, str], ...]
    passes: tuple[str, ...]


CASES = {
    "root-final-stage": Cases(
        fails=(
            ("FROM scratch", 1, "no USER is set"),
            ("FROM alpine\nUSER root", 2, 'USER "root" is root'),
            ("FROM alpine\nUSER 0:0", 2, 'USER "0:0" is root'),
            ("FROM alpine\nUSER 00", 2, 'USER "00" is root'),
            ("FROM alpine\nUSER :5", 2, 'USER ":5" is root'),
            ("FROM alpine\nUSER 5\nUSER root", 3, "stage 0"),
            ("FROM alpine\nRUN useradd -o -u 0 toor\nUSER toor", 3, 'USER "toor" is root'),
            ("FROM scratch AS a\nUSER 5\nFROM scratch AS b\nUSER 0", 4, "b: "),
        ),
        passes=("FROM alpine", "FROM alpine\nUSER 1", "FROM alpine\nUSER app", "FROM alpine\nUSER root\nUSER 7"),
    ),
    "inherited-user": Cases(
        fails=(
            ("FROM python:3.12", 1, 'runs as its base image "python:3.12" does'),
            ("FROM a AS b\nFROM b AS c\nCMD x", 2, '"a"'),
            ("FROM a\nUSER $APP_UID", 2, 'USER "$APP_UID" has a variable'),
        ),
        passes=("FROM scratch", "FROM a\nUSER 5", "FROM a\nUSER app", "FROM a\nARG U=5\nUSER $U"),
    ),
    "user-out-of-range": Cases(
        fails=(
            ("FROM a\nUSER -1", 2, 'USER "-1"'),
            ("FROM a\nUSER 2147483648", 2, "1 to 2147483647"),
            ("FROM a\nUSER 99999999999999999999:5", 2, "99999999999999999999"),
        ),
        passes=("FROM a\nUSER 2147483647", "FROM a\nUSER 1:99999999999", "FROM a", "FROM a\nUSER app"),
    ),
    "impossible-user": Cases(
        fails=(
            ("FROM a\nUSER 1000 # the app", 2, 'USER "1000 # the app"'),
            ("FROM a\nUSER app staff", 2, "no account is called that"),
            ('FROM a\nUSER a\\"b', 2, "as it stands"),
        ),
        passes=("FROM a\nUSER 1000", "FROM a\nUSER www-data:www-data", "FROM a\nUSER first.last", "FROM a"),
    ),
    "administrator-user": Cases(
        fails=(
            ("FROM mcr.microsoft.com/windows/servercore:ltsc2022\nUSER ContainerAdministrator", 2, "Windows' root"),
            ("# escape=`\nFROM own\nUSER containeradministrator", 3, "stage 0"),
        ),
        passes=("FROM mcr.microsoft.com/windows/nanoserver:ltsc2022", "FROM a\nUSER ContainerUser", "FROM a\nUSER 1"),
    ),
    "name-in-user": Cases(
        fails=(
            (_APP, 3, "write: USER 1500"),
            (_APP + "USER app:app", 4, "write: USER 1500:app"),
            ("FROM a\nRUN groupadd -g 7 g && useradd -u 1501 app\nUSER app:g", 3, "write: USER 1501:7"),
            ("FROM a\nUSER app", 2, "only the base image a can tell"),
            ("FROM node:22\nUSER node", 2, "write: USER 1000"),
        ),
        passes=("FROM a\nUSER 1000:app", "FROM a\nUSER root", "FROM a\nUSER a b", "FROM a\nUSER -1", "FROM a\nUSER $X"),
    ),
    "unfixed-uid": Cases(
        fails=(
            ("FROM a\nRUN adduser -D app\nUSER app", 2, "gives no number"),
            ("FROM a\nRUN x && \\\n  useradd -r app\nUSER app", 3, "gives no number"),
            ("FROM a\nRUN useradd -u $(id) app\nUSER app", 2, 'takes the uid from "$(id)"'),
        ),
        passes=(
            _APP,
            "FROM a\nUSER app",
            "FROM a\nRUN adduser -D app\nUSER 1000",
            "FROM a\nRUN adduser app staff\nUSER app",
        ),
    ),
    "root-step": Cases(
        fails=(
            (_APP + "RUN apt-get update", 4, "apt-get installs packages"),
            (_APP + "RUN a && \\\n # c\n  b; apk add --no-cache x", 6, "apk installs packages"),
            (_APP + "RUN <<EOF\nset -e\nyum -y install x\nEOF", 6, "yum installs packages"),
            (_APP + 'RUN ["/usr/sbin/useradd", "x"]', 4, "useradd changes the system"),
            (_APP + "RUN chown -R app /srv/x", 4, "only root can do"),
            (_APP + "RUN chgrp -R 0 /srv/x", 4, "gives its own files to a group of its own"),
            (_APP + "RUN chown -R :0 /srv/x", 4, "gives its own files to a group of its own"),
            (_APP + "RUN npm install -g x", 4, "a folder of root's"),
            (_APP + "RUN pip install flask", 4, "the user's home instead"),
            (_APP + "RUN python3 -m pip install flask", 4, "the user's home instead"),
            (_APP + "RUN mkdir /data", 4, '"/data"'),
            (_APP + "RUN echo x > /etc/x.conf", 4, '"/etc/x.conf"'),
            (_APP + "RUN if true; then cp a /usr/local/bin/; fi", 4, '"/usr/local/bin"'),
            (_APP + "WORKDIR /\nRUN touch state", 5, '"/state"'),
            (_APP + "WORKDIR /\nRUN echo x > state", 5, '"/state"'),
            ('FROM a\nUSER 1000\nRUN sh -c \'apt-get install x\'\nRUN ["sh", "-ec", "apt-get update"]', 4, "apt-get"),
        ),
        passes=(
            "FROM a\nRUN apt-get update\nUSER app",
            "FROM a\nUSER root\nRUN apt-get update",
            "FROM a\nUSER 0\nRUN mkdir /x",
            "FROM a\nRUN useradd -o -u 0 toor\nUSER toor\nRUN apt-get update",
            _APP + "RUN sudo apt-get update",
            _APP + "RUN echo apt-get install x",
            _APP + "RUN mkdir -p /home/app/x /tmp/y ~/z",
            _APP + "RUN mkdir -p /data/in",
            _APP + "RUN pip install --user flask && pip download x",
            _APP + "RUN cd /tmp && mkdir x",
            "FROM a\nRUN mkdir /data && chown 5 /data\nUSER 5\nRUN touch /data/x",
            "FROM a\nCOPY --chown=5 a /srv/app/\nUSER 5\nRUN touch /srv/app/x",
            "FROM a\nUSER 5\nWORKDIR /work\nRUN touch x",
            "FROM a\nENV VIRTUAL_ENV=/v\nUSER 5\nRUN pip install x",
            "FROM a\nUSER 5\nRUN echo x > /dev/null 2>&1",
            "FROM a\nUSER $X\nRUN apt-get update",
            'FROM a\nSHELL ["pwsh", "-c"]\nUSER 5\nRUN mkdir /x',
        ),
    ),
    "unowned-files": Cases(
        fails=(
            ("FROM a\nUSER 5\nCOPY run.sh /run.sh\nRUN chmod +x /run.sh", 3, "line 4 changes it"),
            ("FROM a\nWORKDIR /srv/x\nCOPY a.txt b.txt ./\nUSER 5\nRUN sed -i s/a/b/ b.txt", 3, '"/srv/x/b.txt"'),
            ("FROM a\nCOPY dump.rdb /data/\nVOLUME /data\nUSER 5", 2, "makes it a volume"),
            ("FROM a\nCOPY x /srv/y\nUSER 5\nRUN echo z >> /srv/y", 2, "changes it"),
        ),
        passes=(
            "FROM a\nUSER 5\nCOPY --chown=5 run.sh /run.sh\nRUN chmod +x /run.sh",
            "FROM a\nUSER 5\nCOPY --chmod=755 run.sh /run.sh\nRUN chmod +x /run.sh",
            "FROM a\nCOPY run.sh /run.sh\nRUN chmod +x /run.sh\nUSER 5",
            "FROM a\nCOPY dump /data/\nRUN chown -R 5 /data\nVOLUME /data\nUSER 5",
            "FROM a\nCOPY run.sh /run.sh\nVOLUME /data\nUSER 5\nRUN /run.sh",
            "FROM a\nCOPY x /data/\nVOLUME /data",
        ),
    ),
    "low-port": Cases(
        fails=(
            ("FROM a\nEXPOSE 80\nUSER 5", 2, "EXPOSE 80 is below 1024"),
            ("FROM a\nARG P=443\nEXPOSE $P/tcp 8080 53/udp\nUSER 5", 3, "EXPOSE 53, 443"),
            ("FROM a\nEXPOSE 1000-2000\nUSER app", 2, "EXPOSE 1000"),
        ),
        passes=(
            "FROM a\nEXPOSE 8080\nUSER 5",
            "FROM a\nEXPOSE 80",
            "FROM a\nEXPOSE 80\nUSER 0",
            "FROM a\nRUN setcap cap_net_bind_service=+ep /coredns\nEXPOSE 53\nUSER 5",
            "FROM a AS b\nRUN setcap 'CAP_NET_BIND_SERVICE=+ep' /x\nFROM c\nCOPY --from=b /x /x\nEXPOSE 53\nUSER 5",
            "FROM a\nEXPOSE $P\nUSER 5",
        ),
    ),
}
MODULES = {rule.NAME: rule for rule in rules.RULES}


def evaluated(text: str) -> Evaluation:
    """The evaluation of a text that builds."""
    found = evaluate(text)
    assert isinstance(found, Evaluation), found
    return found


def test_every_module_is_a_rule_and_every_rule_has_cases() -> None:
    """The name is the file's; nothing lies about unused."""
    names = {module.name.replace("_", "-") for module in pkgutil.iter_modules(rules.__path__)}
    assert names == set(MODULES) == set(CASES)
    assert len(MODULES) == len(rules.RULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_rule_is_documented(name: str) -> None:
    """Every section once and in order, a sentence first, and a source that names a repository or manual."""
    doc = importlib.import_module(f"webhook.dockerfile.rules.{name.replace('-', '_')}").__doc__ or ""
    assert doc.split("\n")[0].endswith(".")
    places = [doc.index(f"\n{section}") for section in SECTIONS]
    assert places == sorted(places)
    assert [doc.count(f"\n{section}") for section in SECTIONS] == [1] * len(SECTIONS)


@pytest.mark.parametrize(
    ("name", "text", "line", "words"),
    [(name, *case) for name, cases in CASES.items() for case in cases.fails],
)
def test_a_failing_file_is_found(name: str, text: str, line: int, words: str) -> None:
    """On its line, in these words, with a next step."""
    found = [finding for finding in MODULES[name].check(evaluated(text)) if finding.line == line]
    assert found, list(MODULES[name].check(evaluated(text)))
    assert any(words in finding.message for finding in found), [finding.message for finding in found]
    for finding in found:
        assert finding.rule == name
        assert finding.fix
        assert finding.column >= 1
        assert finding.message.isprintable()
        assert len(finding.message) < 600


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, cases in CASES.items() for text in cases.passes])
def test_a_passing_file_is_not(name: str, text: str) -> None:
    """Whatever other rules say."""
    assert list(MODULES[name].check(evaluated(text))) == []


def test_one_reason_a_rule() -> None:
    """A reason counts and groups; no two rules share one, and it never depends on the file."""
    reasons: dict[str, set[str]] = {}
    for name, cases in CASES.items():
        for text, _, _ in cases.fails:
            reasons.setdefault(name, set()).update(finding.reason for finding in MODULES[name].check(evaluated(text)))
    assert all(len(found) == 1 for found in reasons.values())
    assert len(set.union(*reasons.values())) == len(CASES)


def test_rules_do_not_know_each_other() -> None:
    """A rule that imports another would be two rules."""
    for rule in rules.RULES:
        source = importlib.util.find_spec(rule.__name__).loader.get_source(rule.__name__)  # type: ignore[union-attr]
        assert not re.search(r"dockerfile\.rules", source)


@pytest.mark.parametrize(
    "text",
    [
        "FROM mcr.microsoft.com/windows/servercore:ltsc2022\nUSER ContainerUser",
        "FROM own/base\nUSER ContainerUser",
        "# escape=`\nFROM mcr.microsoft.com/dotnet/framework/aspnet:4.8\nRUN dir",
        "FROM python:3.12-windowsservercore-ltsc2022",
        "FROM mcr.microsoft.com/windows/servercore/iis",
    ],
)
def test_windows_is_another_matter(text: str) -> None:
    """Its users are no numbers, and the kubelet does not ask for any."""
    assert rules.check(evaluated(text)) == ()


def test_the_replacement_is_the_whole_line() -> None:
    """`nonroot fix` writes it as it stands; it is empty where the number is not evident."""
    found = rules.check(evaluated(_APP))
    assert [finding.replacement for finding in found if finding.rule == "name-in-user"] == ["USER 1500"]
    assert all(not finding.replacement for finding in rules.check(evaluated("FROM a\nUSER app")))


def test_the_same_step_is_reported_once_a_line() -> None:
    """Its update and its install are one fault; what another line of the step does is another."""
    step = "RUN apt-get update && apt-get install -y curl && \\\n mkdir /data"
    found = MODULES["root-step"].check(evaluated(_APP + step))
    assert [(finding.line, finding.detail.partition(": ")[2][:8]) for finding in found] == [
        (4, "apt-get "),
        (5, "it write"),
    ]


def test_a_message_has_reason_detail_and_fix() -> None:
    """In that order."""
    finding = DockerfileFinding("a", "error", 1, 1, "reason", "detail", "fix")
    assert finding.message == "reason: detail; fix"
