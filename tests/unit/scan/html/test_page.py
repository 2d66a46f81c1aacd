"""The readiness report as text: what it says, and that nothing in it is a stranger's markup."""

import re
from base64 import b64encode
from hashlib import sha256

import msgspec
import pytest

from tests.support.images import image, redis
from tests.support.made_up_cluster import of
from tests.support.markup import Markup
from tests.support.pages import hostile, large, scanned, small, workload
from tests.support.tables import table
from tests.unit.scan.test_evaluate import predicted
from webhook.evaluation.documentation import rule_url
from webhook.image.source import Image
from webhook.scan.document import Document, Waiting, document
from webhook.scan.html.page import render


def _text(page: str) -> str:
    """The page's words, without tags and their line breaks."""
    body = page.partition("</style>")[2].partition("<script>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


async def test_it_says_what_happens_to_whom_and_what_to_write() -> None:
    """The sentence, the sums, a line for each namespace, image and workload."""
    page = render(await small())
    text = _text(page)
    for sentence in (
        "Readiness report of prod-eu , made 21 November 2026, 12:00 UTC",
        "2 of 7 workloads would be denied if enforced now",
        "1 of 2 namespaces can be enforced today",
        "Looked at: 4 images, 7 containers, 1 Pod.",
        "1 14% Compliant",
        "2 29% Fixable",
        "kubectl label --overwrite ns billing nonroot.dev/mode=enforce",
        "2 to fix, 1 to find out",
        "Of 1 container with Pods, 1 run as uid 0.",
        "moves in May",
        "Deployment shop/broken it has no containers",
    ):
        assert sentence in text
    assert '<code class="line">USER 1000</code>' in page
    assert "runAsUser: 1000" in page


async def test_a_namespace_with_something_to_fix_gets_no_command() -> None:
    assert "ns shop nonroot.dev/mode" not in render(await small())


async def test_what_is_missing_in_the_picture_is_said_at_its_top() -> None:
    """What was skipped, left out, or turned out to be wrong."""
    ordinary = await small()
    summary = msgspec.structs.replace(ordinary.summary, not_examined=2, mismatches=1)
    head = _text(render(msgspec.structs.replace(ordinary, summary=summary)).partition("<main")[0])
    assert head.endswith(
        "1 object could not be looked at; the end of this page says which. The images of 2 containers were left out on "
        "demand. Kubelets contradict 1 prediction below."
    )


async def test_an_exception_that_ends_soon_shows() -> None:
    """At the top, and at its container; where there is nothing to be wary of, nothing is said."""
    whole = await scanned(workload("Deployment", "a", "b", "name"))
    (each,) = whole.workloads
    ending = tuple(msgspec.structs.replace(container, expires_soon=True) for container in each.containers)
    page = render(msgspec.structs.replace(whole, workloads=(msgspec.structs.replace(each, containers=ending),)))
    assert "The exceptions of 1 container end within a week." in page
    assert page.count("ends soon") == 1
    assert 'class="warning"' not in render(whole)


async def test_a_container_that_does_not_start_now_says_why_beside_what_to_write() -> None:
    whole = await scanned(workload("Deployment", "a", "b", "name"))
    (each,) = whole.workloads
    stuck = Waiting("CreateContainerConfigError", "image has <non-numeric> user", 2)
    containers = tuple(msgspec.structs.replace(container, waiting=stuck) for container in each.containers)
    page = render(msgspec.structs.replace(whole, workloads=(msgspec.structs.replace(each, containers=containers),)))
    assert "Does not start now in 2 Pods: CreateContainerConfigError: image has &lt;non-numeric&gt; user" in _text(page)
    assert "runAsUser: 1000" in page
    assert "Does not start now" not in render(whole)


@pytest.mark.parametrize(("found", "line"), [(redis(), "USER 999"), (image(""), "")])
async def test_a_root_image_is_shown_with_the_uid_that_it_is_made_for_or_none(found: Image, line: str) -> None:
    """Beside its workload with the evidence, and among the images as the line of its Dockerfile."""
    page = render(document("c", "2026-11-21T12:00:00Z", [await predicted(of("StatefulSet"), images=found)]))
    evidence = "redis is uid 999 in /etc/passwd, owns /data, docker-entrypoint.sh steps down to it by gosu"
    assert ("runAsUser: 999, runAsGroup: 1000" in page and evidence in page) is bool(line)
    (cell,) = re.findall('<td class="dockerfile">(.*?)</td>', page)
    assert cell == (f'<code class="line">{line}</code>' if line else "")


@table(
    ("user", "line"),
    {
        "a name": ("app", "USER 1000"),
        "a number": ("1000", ""),
        "a name with a group, which a number alone would not keep": ("app:app", ""),
    },
)
async def test_a_fixed_images_dockerfile_should_end_with_the_number(user: str, line: str) -> None:
    (each,) = (await scanned(workload("Deployment", "a", "b", "name"))).workloads
    containers = tuple(msgspec.structs.replace(container, user=user) for container in each.containers)
    page = render(document("c", "2026-11-21T12:00:00Z", [msgspec.structs.replace(each, containers=containers)]))
    (cell,) = re.findall('<td class="dockerfile">(.*?)</td>', page)
    assert cell == (f'<code class="line">{line}</code>' if line else "")


async def test_it_is_well_formed_and_asks_for_nothing() -> None:
    """No address, no handler, no inline style; the policy allows the one script and the one style by their hashes."""
    page = render(await small())
    markup = Markup(page)
    assert markup.asks_for() == set()
    assert markup.handlers() == set()
    (security,) = (attrs["content"] for _, attrs in markup.elements if "http-equiv" in attrs)
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = b64encode(sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in str(security)
    assert str(security).startswith("default-src 'none';")


async def test_every_finding_leads_to_its_rules_page() -> None:
    """Also a note, which is folded up; and to nowhere else."""
    document = await small()
    rules = {each.rule for workload in document.workloads for one in workload.containers for each in one.findings}
    assert len(rules) > 2
    assert Markup(render(document)).links() == {rule_url(each) for each in rules}


async def test_names_are_text_wherever_they_come_from() -> None:
    """No element and no attribute of theirs, no control character, no override of the writing direction."""
    ordinary, page = render(await scanned(workload("Deployment", "a", "b", "root"))), render(await hostile())
    assert {tag for tag, _ in Markup(page).elements} <= {tag for tag, _ in Markup(ordinary).elements} | {"li", "ul"}
    assert page.count("<script>") == 1
    assert "onerror=alert" in page  # as text
    assert Markup(page).handlers() == set()
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "49" not in _text(page)


@table(
    ("objects", "headline"),
    {
        "nothing": ((), "There is no workload here"),
        "all is well": ((workload("Deployment", "a", "b", "name"),), "All of 1 workload keep running if enforced now"),
        "nobody knows": (
            (workload("Deployment", "a", "b", "secret"),),
            "None of 1 workload would be denied if enforced now, but for 1 that is not known",
        ),
    },
)
async def test_the_headline(objects: tuple[dict[str, object], ...], headline: str) -> None:
    result: Document = await scanned(*objects)
    assert headline in _text(render(result))


async def test_what_is_past_the_first_rows_waits_for_the_script() -> None:
    """So that a browser need not lay out thousands of rows first; without scripts the style shows them."""
    page = render(await large(250))
    assert page.count('<tr class="later">') == 50
