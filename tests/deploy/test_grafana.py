"""The dashboard, held against Grafana's own schema: what that does not know Grafana would ignore without a word."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from scripts import metrics_table
from tests import prometheus_rules

# Of Grafana's data source for Prometheus, and so not of the schema that all data sources share.
OF_THE_DATA_SOURCE = {"annotations/list/0/titleFormat"}


@pytest.fixture(scope="module")
def dashboard() -> Any:
    return json.loads(prometheus_rules.DASHBOARD.read_text())


def lost(written: Any, known: Any, path: str = "") -> Iterator[str]:
    """Where something is written that is missing or different in what is known of it."""
    if isinstance(written, dict) and isinstance(known, dict):
        for name, value in written.items():
            yield from lost(value, known.get(name), f"{path}/{name}")
    elif isinstance(written, list) and isinstance(known, list) and len(written) == len(known):
        for place, (one, other) in enumerate(zip(written, known, strict=True)):
            yield from lost(one, other, f"{path}/{place}")
    elif written != known:
        yield path.removeprefix("/")


def read_and_written(dashboard: Any) -> Any:
    """A dashboard after Grafana's types have read it: of each panel the type's own options too."""
    plugins.register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def test_grafana_knows_everything_that_the_dashboard_says(dashboard: Any) -> None:
    assert OF_THE_DATA_SOURCE == set(lost(dashboard, read_and_written(dashboard)))


@pytest.mark.parametrize(
    "part", ["options", "fieldConfig/defaults", "fieldConfig/defaults/custom", "targets/0", "gridPos"]
)
def test_what_grafana_does_not_know_is_found(dashboard: Any, part: str) -> None:
    changed = json.loads(json.dumps(dashboard))
    place = next(number for number, panel in enumerate(changed["panels"]) if panel["type"] == "timeseries")
    inner = changed["panels"][place]
    for name in part.split("/"):
        inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})
    inner["colour"] = "green"

    assert f"panels/{place}/{part}/colour" in set(lost(changed, read_and_written(changed)))


def test_every_metric_of_the_response_cache_is_shown() -> None:
    asked = " ".join(prometheus_rules.expressions())
    of_the_cache = [
        metric.name for metric in metrics_table.metrics() if metric.name.startswith("lumni_gateway_cache_")
    ]

    assert len(of_the_cache) >= 4
    assert [] == [name for name in of_the_cache if name not in asked]


def test_panels_lie_side_by_side_in_24_columns(dashboard: Any) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        assert 0 <= grid["x"] < grid["x"] + grid["w"] <= 24, panel["title"]
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))
