"""LiteLLM's own configuration, read without its keys."""

from pathlib import Path

import pytest

from services.chassis import litellm_config, prices
from services.chassis.config import Mistakes
from services.chassis.deployments import Fleet, FreeQuota


def load(tmp_path: Path, text: str) -> Fleet:
    path = tmp_path / "litellm_config.yaml"
    path.write_text(text)
    return litellm_config.load(path)


GPT = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
"""


def test_a_deployment_knows_its_price_and_its_limits_from_litellms_map(tmp_path: Path) -> None:
    (one,) = load(tmp_path, GPT).deployments

    assert ("gpt-4o@openai", "gpt-4o", "openai", "gpt-4o") == (
        one.id,
        one.model,
        one.provider,
        one.litellm_model,
    )
    assert ("OPENAI_API_KEY", False) == (one.key_ref, one.key_in_file)
    assert (2_500_000_000, 10_000_000_000) == (one.price.rates.input, one.price.rates.output)
    assert one.context_window == 128_000
    assert {"vision", "tools", "json_schema"} <= one.capabilities


def test_a_key_in_the_file_is_noticed_and_not_kept(tmp_path: Path) -> None:
    fleet = load(tmp_path, GPT.replace("os.environ/OPENAI_API_KEY", "sk-canary-1"))

    assert fleet.deployments[0].key_in_file
    assert "canary" not in repr(fleet)


def test_several_spellings_of_one_thing_are_read(tmp_path: Path) -> None:
    fleet = load(
        tmp_path,
        """
model_list:
  - model_name: house
    litellm_params:
      model: openai/house-model
      api_base: env/HOUSE_URL
      api_key: env/HOUSE_KEY
      cost_per_token: 0.000001
      rpm: 10
  - model_name: house
    litellm_params: {model: openai/house-model, api_base: "http://house:1/v1", input_cost_per_token: 0}
    model_info: {id: second, free_quota: {rpd: 50, reset: America/Los_Angeles}, supports_vision: true, send_traceparent: true}
litellm_settings:
  num_retries: 5
router_settings:
  fallbacks: {house: [house]}
  context_window_fallbacks: [{house: [house]}]
  model_group_alias: {smart: house, quick: {model: house}}
  timeout: 7
""",
    )

    first, second = fleet.deployments
    assert ("house@openai", "HOUSE_URL", "", "HOUSE_KEY", 10) == (
        first.id,
        first.api_base_ref,
        first.api_base,
        first.key_ref,
        first.rpm,
    )
    assert first.price.rates.input == first.price.rates.output == 1_000_000_000
    assert ("second", "http://house:1/v1", FreeQuota(rpd=50, reset="America/Los_Angeles")) == (
        second.id,
        second.api_base,
        second.free_quota,
    )
    # What is given for nothing costs nothing, unless the file says otherwise.
    assert second.price.free
    assert "vision" in second.capabilities
    assert (False, True) == (first.send_traceparent, second.send_traceparent)
    assert {"house": ("house",)} == fleet.fallbacks == fleet.context_window_fallbacks
    assert {"smart": "house", "quick": "house"} == fleet.aliases
    assert (5, 7.0) == (fleet.num_retries, fleet.timeout_s)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("model_list: []", 1, "at least one deployment"),
        (GPT.replace("openai/gpt-4o", "mystery"), 4, "name the provider"),
        (GPT + "    model_info: {input_cost_per_token: 2.5}\n", 4, "US dollars per token"),
        (GPT + "general_settings:\n  enforce_limits: true\n", 6, "may touch money, limits or auth"),
        (
            GPT + "    model_info: {web_search_cost_per_use: 0.01, web_search_tokens_per_use: 100}\n",
            5,
            "takes no bound on its searches",
        ),
        (GPT + "router_settings:\n  max_budget_usd: 7\n", 6, "may touch money"),
        (GPT + "router_settings:\n  fallbacks: [{gpt-4o: [gpt-5]}]\n", 6, "gpt-5: no such model"),
        (GPT + "router_settings:\n  routing_strategy: roulette\n", 6, "expected one of"),
        (GPT + "    model_info: {free_quota: {rpd: 5, reset: Mars}}\n", 5, "a time zone"),
        (GPT.replace("api_key:", "rpm: -1, api_key:"), 4, "at least 0"),
        (
            GPT + "    model_info: {send_traceparent: sometimes}\n",
            5,
            "send_traceparent: expected true or false",
        ),
        (GPT + "    model_info: {input_cost_per_image: 0.1}\n", 5, "Lumni does not price by it"),
        (GPT + "guardrails: [{guardrail_name: pii}]\n", 5, "inspect before or behind Lumni"),
        (GPT.replace("api_key:", "tiered_pricing: [1], api_key:"), 4, "set input_cost_per_token"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(Mistakes) as caught:
        load(tmp_path, text)

    assert any(f".yaml:{line}:" in found and says in found for found in caught.value.lines), (
        caught.value.lines
    )


def test_an_unknown_setting_that_guards_nothing_is_only_warned_about(tmp_path: Path) -> None:
    fleet = load(tmp_path, GPT + "router_settings:\n  colour: blue\n")

    assert (
        "litellm_config.yaml:6: router_settings.colour: Lumni does not know it; ignored",
    ) == fleet.warnings


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("litellm_settings:\n  success_callback: [portkey]\n", 6, "ignored so far: PORTKEY_API_KEY"),
        ("litellm_settings:\n  failure_callback: [langfuse]\n", 6, "ignored so far"),
        ("litellm_settings:\n  callbacks: [otel]\n", 6, "ignored so far"),
        ("litellm_settings:\n  cache: true\n", 6, "answers are not cached"),
        ("litellm_settings:\n  turn_off_message_logging: false\n", 6, "never logs messages"),
        ("router_settings:\n  model_group_alias: {a: {model: gpt-4o, hidden: true}}\n", 6, "hidden: "),
        ("router_settings:\n  enable_pre_call_checks: false\n", 6, "is always checked"),
        ("general_settings:\n  master_key: sk-1\n", 6, "put it into LUMNI_ADMIN_KEY"),
        ("general_settings:\n  enforce_limits: false\n", 6, "it is off; ignored"),
        ("environment_variables:\n  SOME_API_KEY: sk-1\n", 6, "put it into the environment"),
        ("    model_info: {max_tokens: 5}\n", 5, "does not know it"),
    ],
)
def test_a_setting_without_effect_is_warned_about(tmp_path: Path, text: str, line: int, says: str) -> None:
    (warning,) = load(tmp_path, GPT + text).warnings

    assert warning.startswith(f"litellm_config.yaml:{line}: ")
    assert says in warning


def test_a_setting_that_asks_for_what_is_always_done_needs_no_warning(tmp_path: Path) -> None:
    fleet = load(
        tmp_path,
        GPT
        + """
router_settings: {enable_pre_call_checks: true}
litellm_settings: {turn_off_message_logging: true, json_logs: true, set_verbose: false, cache: false}
""",
    )

    assert () == fleet.warnings


def test_the_price_table_names_the_litellm_it_was_read_from() -> None:
    assert prices.version() == "1.106.2"


@pytest.mark.parametrize(
    ("params", "known", "is_free"),
    [
        ("model: openai/house-model, api_base: 'https://models.example.com/v1'", False, False),
        ("model: openai/house-model, api_base: 'http://10.0.0.7/v1'", True, True),
        ("model: hosted_vllm/house-model, api_base: 'https://models.example.com/v1'", True, True),
        ("model: openai/house-model, api_base: os.environ/HOUSE", False, False),
        ("model: openai/gpt-4o, api_base: 'http://10.0.0.7/v1'", True, False),
    ],
)
def test_a_model_without_a_price_is_free_where_nobody_bills_it(
    tmp_path: Path, params: str, known: bool, is_free: bool
) -> None:
    fleet = load(tmp_path, f"model_list:\n  - model_name: house\n    litellm_params: {{{params}}}\n")

    (one,) = fleet.deployments
    assert (known, is_free) == (one.price.known, one.price.free)
    assert (not known) == any(
        "the price of openai/house-model is not known" in line for line in fleet.warnings
    )


def test_a_private_server_is_not_shown_the_key_of_a_provider_unasked(tmp_path: Path) -> None:
    fleet = load(
        tmp_path,
        """
model_list:
  - model_name: mine
    litellm_params: {model: openai/mine, api_base: "http://vllm:8000/v1"}
  - model_name: theirs
    litellm_params: {model: openai/gpt-4o}
""",
    )

    assert ["", "OPENAI_API_KEY"] == [one.key_ref for one in fleet.deployments]


@pytest.mark.parametrize(
    ("own", "general", "takes"),
    [
        ("", "", set()),
        ("", "litellm_settings: {drop_params: true}\n", {"several_choices", "logprobs"}),
        (", drop_params: true", "", {"several_choices", "logprobs"}),
        (", drop_params: false", "litellm_settings: {drop_params: true}\n", set()),
        (", additional_drop_params: [logprobs]", "", {"logprobs"}),
    ],
)
def test_a_model_takes_what_the_configuration_leaves_out(
    tmp_path: Path, own: str, general: str, takes: set[str]
) -> None:
    text = f"model_list:\n  - model_name: a\n    litellm_params: {{model: anthropic/claude-haiku-4-5{own}}}\n{general}"

    (one,) = load(tmp_path, text).deployments

    assert takes == one.capabilities & {"several_choices", "logprobs"}


def test_a_deployment_without_a_group_belongs_to_the_standard_one(tmp_path: Path) -> None:
    assert [("standard",)] == [one.access_groups for one in load(tmp_path, GPT).deployments]


def test_a_merged_entry_may_set_what_it_takes_over(tmp_path: Path) -> None:
    fleet = load(
        tmp_path,
        """
model_list:
  - model_name: a
    litellm_params: &same {model: openai/gpt-4o, rpm: 5}
  - model_name: b
    litellm_params: {<<: *same, rpm: 7}
""",
    )

    assert [5, 7] == [one.rpm for one in fleet.deployments]
