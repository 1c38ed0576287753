"""What is configured: keys, retries, prices, and what a file may not say."""

import logging
from pathlib import Path

import pytest
import yaml

from services.chassis import litellm_config
from services.chassis.config import Mistakes
from services.executor.engines.directory import Directory, Keys
from services.executor.engines.litellm_sdk import LiteLLMEngine
from tests.executor.fleet import deployment


def test_a_key_comes_from_its_own_variable_and_nowhere_else() -> None:
    keys = Keys({"A": "key-a", "LUMNI": "sk-lumni-x"})

    assert keys.of(deployment("http://x", key_ref="A")) == "key-a"
    for reference in ("MISSING", "LUMNI"):
        with pytest.raises(LookupError):
            keys.of(deployment("http://x", key_ref=reference))
    assert keys.of(deployment("http://x", key_ref="")) is None
    assert keys.of(deployment("", provider="ollama", key_ref="", api_base="")) is None
    assert not keys.reachable(deployment("", key_ref="", api_base=""))
    assert not keys.reachable(deployment("", key_ref="A", api_base="", api_base_ref="NOWHERE"))


def test_a_key_in_the_file_works_and_is_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "litellm_config.yaml"
    entry = {
        "model_name": "m",
        "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "sk-in-the-file"},
    }
    path.write_text(yaml.safe_dump({"model_list": [entry]}))
    fleet, keys = litellm_config.load(path), Keys({})
    keys.read_file(path, fleet)

    assert keys.of(fleet.deployments[0]) == "sk-in-the-file"
    assert "stands in the file" in caplog.text
    assert "sk-in-the-file" not in caplog.text


@pytest.mark.parametrize(
    ("params", "retries"),
    [({}, 4), ({"num_retries": 0}, 0), ({"max_retries": 1}, 1), ({"max_retries": 0, "num_retries": 2}, 2)],
)
async def test_a_deployments_own_retries_come_first(
    params: dict[str, int], retries: int, litellm_engine: LiteLLMEngine, tmp_path: Path
) -> None:
    path = tmp_path / "litellm_config.yaml"
    entry = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o-mini", **params}}
    path.write_text(yaml.safe_dump({"model_list": [entry], "router_settings": {"num_retries": 4}}))
    directory = Directory(path, Keys({}), lambda _: litellm_engine)

    assert directory.retries(directory.fleet.deployments[0]) == retries


@pytest.mark.parametrize("price", [-1, 3.0, "cheap"])
def test_a_price_that_cannot_be_right_stops_the_start(price: object, tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    entry = {
        "model_name": "m",
        "litellm_params": {"model": "openai/gpt-4o-mini"},
        "model_info": {"input_cost_per_token": price},
    }
    path.write_text(yaml.safe_dump({"model_list": [entry]}))

    with pytest.raises(Mistakes, match="input_cost_per_token"):
        litellm_config.load(path)


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[3] / "examples").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_example_can_be_read(path: Path) -> None:
    fleet = litellm_config.load(path)

    assert fleet.deployments
    assert fleet.warnings == ()
    assert not any(deployment.key_in_file for deployment in fleet.deployments)


def test_what_has_no_effect_is_warned_about(tmp_path: Path) -> None:
    path = tmp_path / "litellm_config.yaml"
    without_effect = {
        "retry_policy": {"TimeoutErrorRetries": 3},
        "allowed_fails_policy": {"BadRequestErrorAllowedFails": 1000},
        "disable_cooldowns": True,
        "retry_after": 5,
    }
    entry = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o-mini"}}
    path.write_text(yaml.safe_dump({"model_list": [entry], "router_settings": without_effect}))

    warnings = litellm_config.load(path).warnings

    assert [name for name in without_effect if not any(f"{name}: " in warning for warning in warnings)] == []
