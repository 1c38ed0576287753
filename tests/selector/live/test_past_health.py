"""What is kept of the deployments' health."""

from pathlib import Path

import pytest

from services.selector.configuration import Configuration
from services.selector.live import past_health, snapshot
from services.selector.live.snapshot import UNKNOWN_LATENCY_MS, Headroom, Report
from services.selector.models.deployment_table import DeploymentTable

NOW = 1_790_000_000.0


@pytest.fixture
def table(tmp_path: Path) -> DeploymentTable:
    fleet = "model_list: [{model_name: one, litellm_params: {model: openai/gpt-5}}]"
    (tmp_path / "litellm_config.yaml").write_text(fleet)
    return Configuration(tmp_path).selector.table


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (Headroom("rpm", 100, 100, NOW + 9), False),
        (Headroom("tpm", 100, 99, NOW + 9), True),
        # Nothing is permitted.
        (Headroom("rpm", 0, 0, NOW + 9), True),
        # A day's is paced, and a whole one is behind the day.
        (Headroom("rpd", 100, 100, NOW + 9), True),
    ],
)
def test_a_limit_is_kept_unless_it_is_a_minutes_and_whole(
    table: DeploymentTable, left: Headroom, *, kept: bool
) -> None:
    report = Report(table.deployments[0].id, latency_ms=UNKNOWN_LATENCY_MS, headroom=(left,))

    states = past_health.kept(table, snapshot.merge(table, [[report]], NOW))

    assert [(left,)] * kept == [one.headroom for one in states]
