"""The rules as pages to read: a rule's docstring is its documentation, for `nonroot explain` and for SARIF's help."""

import re
from difflib import get_close_matches
from functools import cache
from inspect import cleandoc

import msgspec

from webhook.dockerfile import rules as dockerfile_rules
from webhook.errors import InvalidSetting
from webhook.evaluation import rules
from webhook.evaluation.documentation import rule_url

_SECTION = re.compile(r"^(Why|Fails|Passes|Fix|Dockerfile|Source): ?", re.MULTILINE)


class RuleDoc(msgspec.Struct, frozen=True):
    """A rule's documentation."""

    name: str
    text: str

    @property
    def url(self) -> str:
        """The rule's page in the documentation."""
        return rule_url(self.name)

    @property
    def title(self) -> str:
        """The first sentence."""
        return self.text.split("\n\n", 1)[0].replace("\n", " ")

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Why, Fails, Passes, Fix, Dockerfile and Source, each on one line."""
        parts = _SECTION.split(self.text)
        return [(name, " ".join(body.split())) for name, body in zip(parts[1::2], parts[2::2], strict=True)]

    @property
    def markdown(self) -> str:
        """The page in Markdown."""
        return "\n\n".join([self.title, *(f"**{name}**: {body}" for name, body in self.sections)])

    def section(self, name: str) -> str:
        """The text of a section; empty where there is none."""
        return dict(self.sections).get(name, "")


def names() -> tuple[str, ...]:
    """Every rule's name, in the order in which findings are listed."""
    return tuple(_pages())


def page(name: str) -> RuleDoc:
    """A rule's page; `InvalidSetting` names the rules where there is no such one."""
    found = _pages().get(name)
    if found is None:
        near = get_close_matches(name, names(), n=1)
        others = f"did you mean {near[0]}? nonroot explain lists them" if near else f"there are {', '.join(names())}"
        raise InvalidSetting(f"there is no rule {name[:80]!a}; {others}")
    return found


_SAID = (  # what the kubelet and the runtimes say, and the rule that foresees it
    ("image has non-numeric user", "named-user"),
    ("image will run as root", "root-image"),
    ("image has an invalid user id", "invalid-user"),
    ("breaks non-root policy", "root-user"),
    ("break non-root policy", "windows-administrator"),
    ("unable to find user", "unresolvable-user"),
    ("no users found", "unresolvable-user"),
    ("no matching entries in passwd file", "unresolvable-user"),
    ("cannot be specified without runAsUser", "group-without-user"),
)


def find(text: str) -> RuleDoc:
    """The page of a rule by its name, or by the words in which the kubelet or a runtime refuses a container.

    Sources: kubernetes pkg/kubelet/kuberuntime/security_context_others.go and _windows.go; moby/sys user/user.go.
    """
    name = next((rule for words, rule in _SAID if words.lower() in text.lower()), text)
    return page(name)


@cache
def _pages() -> dict[str, RuleDoc]:
    modules = (*rules.RULES, *dockerfile_rules.RULES)
    return {module.NAME: RuleDoc(module.NAME, cleandoc(module.__doc__ or "")) for module in modules}
