"""The counts of former scans: kept over a restart, one sample a day at most, and bounded."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from tests.support.objects import Objects
from webhook.cluster.errors import Forbidden
from webhook.controller import scan_history
from webhook.controller.scan_history import SAMPLES_LIMIT, History, extended
from webhook.scan.document import Counts, Document, Sample, Skip, document

CONFIGMAPS = "/api/v1/configmaps"
START = datetime(2026, 6, 1, 8, tzinfo=UTC)


def scanned(at: datetime, denied: int, *skipped: Skip) -> Document:
    """A scan that found nothing but so many workloads that would be denied."""
    made = document("prod", at.isoformat(), (), skipped)
    return msgspec.structs.replace(
        made, summary=msgspec.structs.replace(made.summary, workloads=Counts(refused=denied))
    )


def sample(at: datetime, denied: int) -> Sample:
    return Sample(at, 0, 0, denied, 0, 0, 0)


def test_only_changes_are_kept_and_of_a_day_the_last() -> None:
    history = History()
    for hours, denied in ((0, 5), (1, 5), (2, 4), (3, 3), (26, 3), (50, 2)):
        history = extended(history, scanned(START + timedelta(hours=hours), denied))
    assert history.samples == (sample(START + timedelta(hours=3), 3), sample(START + timedelta(hours=50), 2))


def test_what_could_not_read_everything_counts_for_nothing() -> None:
    forbidden = Skip("Pods", "forbidden", forbidden=True)
    assert extended(History(), scanned(START, 5, forbidden)) == History()
    assert extended(History(), scanned(START, 5, Skip("Pod shop/web", "malformed"))).samples == (sample(START, 5),)


def test_the_oldest_goes_first() -> None:
    history = History()
    for day in range(SAMPLES_LIMIT + 5):
        history = extended(history, scanned(START + timedelta(days=day), day))
    assert len(history.samples) == SAMPLES_LIMIT
    assert (history.samples[0].denied, history.samples[-1].denied) == (5, SAMPLES_LIMIT + 4)


async def test_the_next_controller_goes_on_from_it() -> None:
    api = Objects(CONFIGMAPS)
    api.put(CONFIGMAPS, {"metadata": {"name": "nonroot-webhook-history", "namespace": "nonroot-system"}})
    first = scan_history.in_config_map(api)
    await first.write(extended(await first.read(), scanned(START, 5)))
    assert (await scan_history.in_config_map(api).read()).samples == (sample(START, 5),)
    (kept,) = api.all(CONFIGMAPS)
    assert json.loads(kept["data"]["history.json"])["samples"][0]["at"] == "2026-06-01T08:00:00Z"


@pytest.mark.parametrize("at", ["yesterday", "2026-06-01T08:00:00"])
async def test_a_history_of_somebody_elses_making_is_replaced(at: str) -> None:
    api = Objects(CONFIGMAPS)
    broken = {"samples": [msgspec.to_builtins(sample(START, 5)) | {"at": at}]}
    metadata = {"name": "nonroot-webhook-history", "namespace": "nonroot-system"}
    api.put(CONFIGMAPS, {"metadata": metadata, "data": {"history.json": json.dumps(broken)}})
    kept = scan_history.in_config_map(api)
    assert await kept.read() == History()
    await kept.write(extended(History(), scanned(START, 1)))
    assert (await scan_history.in_config_map(api).read()).samples == (sample(START, 1),)


@pytest.mark.parametrize("forbidden", [False, True], ids=["no ConfigMap", "no right to it"])
async def test_without_the_config_map_the_process_remembers(
    forbidden: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api = Objects(CONFIGMAPS)
    if forbidden:

        async def call(*_: object, **__: object) -> bytes:
            raise Forbidden("no")

        monkeypatch.setattr(api, "call", call)
    kept = scan_history.in_config_map(api)
    await kept.write(extended(await kept.read(), scanned(START, 5)))
    assert (await kept.read()).samples == (sample(START, 5),)
    assert [each.getMessage() for each in caplog.records] == ["how counts change is not kept over a restart: no"] * (
        2 * forbidden
    )
    assert (await scan_history.in_config_map(Objects(CONFIGMAPS)).read()) == History()
