"""What `/metrics` shows of what was answered."""

from prometheus_client.parser import text_string_to_metric_families

from tests.support.images import Table, image
from tests.support.pods import IMAGE, minimal, tweak
from tests.unit.server.test_asgi import call, review
from webhook.admission.handler import Admission
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents, Metadata, NonRootPolicy, PolicySpec
from webhook.server.asgi import Reviews
from webhook.server.counters import Metrics
from webhook.server.probes import build


async def _samples(metrics: Metrics) -> dict[str, float]:
    text = (await call(build(metrics, lambda: None), b"", "/metrics", method="GET")).body.decode()
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_reviews_findings_and_injections_are_counted() -> None:
    metrics = Metrics()
    documents = Documents((NonRootPolicy(Metadata("strict"), PolicySpec(mode="Enforce")),))
    reviews = Reviews(
        Admission(PolicySnapshot(documents), Table({IMAGE: image("app")})), metrics, build(metrics, lambda: None)
    )
    await call(reviews, review(minimal()), "/mutate")
    await call(reviews, review(tweak(minimal(), {"spec.securityContext.runAsUser": 0})))
    await call(reviews, b"no review")
    await call(
        reviews,
        review(tweak(minimal(), {"spec.containers.0.image": "a.io/x", "spec.securityContext.runAsNonRoot": True})),
    )
    metrics.view_age = lambda: 2.5
    metrics.expiry = lambda: 1.5e9
    metrics.identities = lambda: 3
    samples = await _samples(metrics)
    assert samples["nonroot_reviews_total decision=allow door=mutate mode=Enforce operation=CREATE"] == 1
    assert samples["nonroot_reviews_total decision=deny door=validate mode=Enforce operation=CREATE"] == 1
    assert samples["nonroot_findings_total door=validate mode=Enforce rule=root-user"] == 1
    assert samples["nonroot_malformed_requests_total status=400"] == 1
    assert samples["nonroot_injections_total"] == 1
    assert samples["nonroot_verifications_total cause=notFound"] == 1
    assert samples["nonroot_exempted_containers_total mode=Enforce"] == 0
    assert samples["nonroot_review_duration_seconds_count door=mutate"] == 1
    assert samples["nonroot_review_duration_seconds_bucket door=mutate le=+Inf"] == 1
    assert samples["nonroot_view_age_seconds"] == 2.5
    assert samples["nonroot_certificate_expiry_timestamp_seconds certificate=serving"] == 1.5e9
    assert samples["nonroot_image_identities"] == 3


async def test_root_images_that_the_policy_allows_are_counted_as_exempted() -> None:
    metrics = Metrics()
    documents = Documents((NonRootPolicy(Metadata("lenient"), PolicySpec(mode="Enforce", root_images="Allow")),))
    reviews = Reviews(
        Admission(PolicySnapshot(documents), Table({IMAGE: image("")})), metrics, build(metrics, lambda: None)
    )
    reply = await call(reviews, review(minimal()))
    assert reply.response["allowed"]
    assert reply.response["auditAnnotations"]["verdict"] == "skipped"
    assert (await _samples(metrics))["nonroot_exempted_containers_total mode=Enforce"] == 1


async def test_labels_stay_few_whatever_strangers_ask() -> None:
    """Anybody in the cluster can call us: what they make up is not kept."""
    metrics = Metrics()
    reviews = Reviews(Admission(PolicySnapshot(Documents()), Table({})), metrics, build(metrics, lambda: None))
    for number in range(20):
        await call(reviews, review(minimal(), operation=f"MADE-UP-{number}"))
    samples = await _samples(metrics)
    assert samples["nonroot_reviews_total decision=skip door=validate mode=none operation=other"] == 20
    assert sum(name.startswith("nonroot_reviews_total") for name in samples) == 1


async def test_readiness_says_why_not() -> None:
    reasons: list[str | None] = ["no view of the cluster yet", None]
    app = build(Metrics(), lambda: reasons.pop(0), ca=b"PEM")
    waiting = await call(app, b"", "/readyz", method="GET")
    assert (waiting.status, waiting.body) == (503, b"no view of the cluster yet\n")
    ready = await call(app, b"", "/readyz", method="GET")
    assert (ready.status, ready.body) == (200, b"ok\n")
    assert (await call(app, b"", "/healthz", method="GET")).status == 200
    assert (await call(app, b"", "/ca.crt", method="GET")).body == b"PEM"
